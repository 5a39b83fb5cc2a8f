"use strict";
(() => {
  const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  const $ = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const show = (element, on) => { element.hidden = !on; };

  // fits tells whether the last two characters are the remainder of the rest,
  // as package invite writes it: 128 bits begin with a digit up to 7. Only what
  // fits is ever used.
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

  // What this browser is, and whether a certificate can be installed from it.
  const ua = navigator.userAgent;
  const system = /iPhone|iPad|iPod/.test(ua) || /Macintosh/.test(ua) && navigator.maxTouchPoints > 1 ? "ios"
    : /Android/.test(ua) ? "android" : /Macintosh/.test(ua) ? "mac" : /Windows/.test(ua) ? "windows" : "linux";
  const phone = system === "ios" || system === "android";
  const wrong = () => {
    if (/; wv\)|FBAN|FBAV|FB_IAB|Instagram|\bLine\/|MicroMessenger|WhatsApp|Snapchat|musical_ly|LinkedInApp|\bGSA\/|Telegram/.test(ua)) return "app";
    if (system === "ios" && !/Safari\//.test(ua)) return "app";
    if (system === "ios" && /CriOS|FxiOS|EdgiOS|OPT\/|OPiOS|DuckDuckGo|YaBrowser/.test(ua)) return "safari";
    const firefox = /Firefox\/(\d+)/.exec(ua);
    if (system === "android" && firefox && firefox[1] < 142) return "firefox";
    return "";
  };

  let base = location.origin, good = "", anyway = false;
  const offer = (from, fragment) => {
    base = from;
    good = invitation(fragment);
    const hindrance = anyway ? "" : wrong();
    show($("mistyped"), fragment && !good);
    all("[data-wrong]").forEach((note) => show(note, good && note.dataset.wrong === hindrance));
    show($("make"), good && !hindrance && base === location.origin);
    show(document.querySelector("[data-copy=command]"), good);
    show($("plain"), !good);
    $("command").textContent = good ? `postern join "${link()}"` : plain;
  };
  const link = () => `${base}/join#${good}`;
  const plain = $("command").textContent;
  const fromAddress = () => {
    const fragment = location.hash.slice(1);
    show($("paste"), !invitation(fragment));
    offer(location.origin, fragment);
    if (good) report("opened");
  };
  $("link").addEventListener("input", () => {
    const text = $("link").value.trim();
    const match = /^(https:\/\/[a-z0-9.:[\]_-]+)\/join#(.*)$/i.exec(text);
    offer(match ? match[1].toLowerCase() : location.origin, match ? match[2] : text);
  });
  all("[data-anyway]").forEach((button) => button.addEventListener("click", () => {
    anyway = true;
    offer(base, good);
    $("begin").focus();
  }));

  // Copying. What cannot be copied is selected, so that a person can.
  const copied = { link: () => link(), command: () => $("command").textContent, password: () => $("password").textContent };
  all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(copied[button.dataset.copy]());
      button.textContent = button.dataset.done;
      setTimeout(() => { button.textContent = label; }, 2000);
    } catch {
      const source = $(button.dataset.copy);
      if (source) getSelection().selectAllChildren(source);
    }
  }));

  // What this device is, and how far it has come, for whoever invited it. The
  // report holds the code's hash: it spends nothing.
  const described = async () => {
    let version = "", kind = { android: "Android", ios: "iOS", mac: "macOS", windows: "Windows", linux: "Linux" }[system];
    try {
      const told = await navigator.userAgentData.getHighEntropyValues(["platformVersion"]);
      if (system !== "linux") version = told.platformVersion.split(".")[0];
    } catch {
      const match = /OS (\d+)[_.\d]* like Mac|Version\/(\d+)\S* Mobile/.exec(ua);
      if (match) version = match[1] || match[2];
    }
    const browser = [["Firefox", /Firefox\/|FxiOS\//], ["Edge", /Edg(A|iOS)?\//], ["Samsung Internet", /SamsungBrowser\//],
      ["Opera", /OPR\/|OPT\//], ["Chrome", /Chrome\/|CriOS\//], ["Safari", /Safari\//]].find(([, is]) => is.test(ua));
    return [kind, version, browser ? browser[0] : "browser"].filter(Boolean).join(" ");
  };
  const bytesOf = (code) => {
    const number = [...code.slice(0, 26)].reduce((n, c) => n * 32n + BigInt(alphabet.indexOf(c)), 0n);
    return new Uint8Array(number.toString(16).padStart(32, "0").match(/../g).map((byte) => parseInt(byte, 16)));
  };
  const post = (path, value) => fetch(path, {
    method: "POST", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
    headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
  });
  const report = async (step) => {
    try {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(good)));
      const invite = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      await post("/join/report", { invite, step, device: await described() });
    } catch { /* nobody has to know */ }
  };

  // Enrolling. The key is kept for another try: the server answers the same
  // key again, also when its first answer was lost.
  let made;
  const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const ask = async () => {
    for (let missed = 0; ; ) {
      let response, answer;
      try {
        response = await post("/join", { code: good.split(".")[0], csr: made.csr });
        answer = await response.json();
        missed = 0;
      } catch (e) {
        // A phone that slept while it waited has lost its connection.
        if ($("waiting").hidden || ++missed > 5) throw e;
        await pause(2);
        continue;
      }
      if (!response.ok) throw { said: answer.detail };
      if (response.status !== 202) return answer;
      $("words").textContent = answer.words;
      show($("working"), false);
      show($("waiting"), true);
      await pause(2);
    }
  };
  const sentence = (text) => text[0].toUpperCase() + text.slice(1).replace(/\.?$/, ".");
  const enrol = async () => {
    show($("make"), false);
    show($("failed"), false);
    show($("working"), true);
    try {
      made = made || await keymaker.makeKey();
      report("key");
      finish(await ask());
    } catch (e) {
      const why = $("why");
      why.textContent = e.said ? sentence(e.said) : (made ? why.dataset.lost : why.dataset.old);
      show($("failed"), true);
      show($("retry"), !e.said && made);
    }
    show($("working"), false);
    show($("waiting"), false);
  };
  const fileOf = (answer, password, encoding) => URL.createObjectURL(new Blob([keymaker.pack({
    key: made.key, certificates: answer.certificate, name: answer.name, password, encoding,
  })], { type: "application/x-pkcs12" }));
  const finish = (answer) => {
    const password = keymaker.password();
    $("name").textContent = answer.name;
    $("password").textContent = password;
    const file = answer.name.replace(/[^a-z0-9]+/gi, "-") + ".p12";
    for (const [id, encoding] of [["file", "compatible"], ["modern", "modern"]]) {
      $(id).href = fileOf(answer, password, encoding);
      $(id).download = file;
    }
    for (const site of answer.sites || []) {
      const a = document.createElement("a");
      [a.className, a.href, a.textContent, a.rel] = ["button", site, new URL(site).host, "noreferrer"];
      $("sites").append(a, " ");
    }
    all("[data-guide]").forEach((guide) => { guide.open = guide.dataset.guide === system; });
    all("[data-wrong], #lead, #terminal, #mistyped, #paste").forEach((part) => show(part, false));
    all("#made, #rejected").forEach((part) => show(part, true));
    $("made-title").focus();
  };
  $("begin").addEventListener("click", enrol);
  $("retry").addEventListener("click", enrol);

  if (phone) $("terminal").open = false;
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
