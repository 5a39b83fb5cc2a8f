"use strict";
(() => {
  const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  const $ = (id) => document.getElementById(id);
  // fits tells whether the last two characters are the remainder of the rest,
  // as package invite writes it: 128 bits begin with a digit up to 7. Only what fits is ever put into a command.
  const fits = (text, length, first) => {
    const digits = [...text.toLowerCase()].map((c) => alphabet.indexOf(c));
    if (digits.length !== length || digits.includes(-1) || digits[0] > first) return false;
    const [high, low] = digits.splice(-2);
    return digits.reduce((rest, d) => (rest * 32 + d) % 1021, 0) === high * 32 + low;
  };
  const invitation = (text) => {
    const [code, pin, more] = text.split(".");
    return pin && more === undefined && fits(code, 28, 7) && fits(pin, 34, 31) ? text.toLowerCase() : "";
  };
  const show = (base, fragment) => {
    const good = invitation(fragment);
    $("mistyped").hidden = !fragment || good !== "";
    $("filled").hidden = $("copy").hidden = good === "";
    $("plain").hidden = good !== "";
    $("command").textContent = good ? `postern join "${base}/join#${good}"` : plain;
  };
  const plain = $("command").textContent;
  const fromAddress = () => {
    const fragment = location.hash.slice(1);
    $("paste").hidden = invitation(fragment) !== "";
    show(location.origin, fragment);
  };
  $("link").addEventListener("input", () => {
    const text = $("link").value.trim();
    const match = /^(https:\/\/[a-z0-9.:[\]_-]+)\/join#(.*)$/i.exec(text);
    show(match ? match[1].toLowerCase() : location.origin, match ? match[2] : text);
  });
  $("copy").addEventListener("click", async () => {
    const button = $("copy"), label = button.textContent;
    try {
      await navigator.clipboard.writeText($("command").textContent);
      button.textContent = button.dataset.done;
      setTimeout(() => { button.textContent = label; }, 2000);
    } catch {
      getSelection().selectAllChildren($("command"));
    }
  });
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
