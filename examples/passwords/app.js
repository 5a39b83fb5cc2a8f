"use strict";

// The page around derive.js. The secret lives in its field and nowhere else.
(() => {
  const $ = (id) => document.getElementById(id);
  const store = "postern-passwords-sites";
  const clipboardSeconds = 30;
  const restMinutes = 5;
  const pauseMillis = 350; // of typing, before the slow step begins
  const noWords = "Three words will appear here.";

  let password = "";
  let turn = 0; // counts inputs, so that a late result is dropped
  let typing = 0;
  let resting = 0;
  let clearing = 0;

  const boxes = () => [...document.querySelectorAll('input[name="class"]')];
  const bounded = (input) => Math.min(input.max, Math.max(input.min, Math.trunc(input.valueAsNumber) || Number(input.defaultValue)));
  const settings = () => ({
    account: $("account").value.trim(),
    counter: bounded($("counter")),
    length: bounded($("length")),
    chosen: boxes().filter((box) => box.checked).map((box) => box.value),
  });

  // --- what is remembered: sites and their options, only when asked to

  const remembered = () => {
    try {
      return JSON.parse(localStorage.getItem(store)) || {};
    } catch {
      return {};
    }
  };

  const remember = () => {
    const sites = remembered();
    const site = passwords.site($("site").value);
    if (!site) return;
    if ($("remember").checked) sites[site] = settings();
    else delete sites[site];
    try {
      if (Object.keys(sites).length) localStorage.setItem(store, JSON.stringify(sites));
      else localStorage.removeItem(store);
    } catch {
      $("state").textContent = "This browser keeps nothing for this page.";
    }
    listSites();
  };

  const listSites = () => {
    $("known").replaceChildren(...Object.keys(remembered()).sort().map((site) => {
      const option = document.createElement("option");
      option.value = site;
      return option;
    }));
  };

  const recall = () => {
    const known = Object.entries(remembered()).find(([site]) => site === passwords.site($("site").value))?.[1];
    $("remember").checked = Boolean(known);
    if (!known) return;
    $("account").value = known.account ?? "";
    $("counter").value = known.counter ?? 1;
    $("length").value = known.length ?? 20;
    for (const box of boxes()) box.checked = !Array.isArray(known.chosen) || known.chosen.includes(box.value);
  };

  // --- the result

  const show = () => {
    const open = $("reveal").getAttribute("aria-pressed") === "true";
    $("password").textContent = open ? password : "•".repeat(password.length && 12);
    $("copy").disabled = $("reveal").disabled = !password;
  };

  const say = (text) => { $("state").textContent = text; };

  const showWords = (words) => {
    $("words").replaceChildren(...words.map((word) => {
      const chip = document.createElement("span");
      chip.textContent = word;
      chip.dataset.hue = passwords.words.indexOf(word) % 8;
      return chip;
    }));
  };

  const note = (text) => {
    const span = document.createElement("span");
    span.className = "quiet";
    span.textContent = text;
    $("words").replaceChildren(span);
  };

  const missing = (site, chosen) => {
    if (!$("secret").value) return "First your secret, then the site.";
    if (!site) return "Which site is it for?";
    return chosen.length ? "" : "Choose at least one kind of character.";
  };

  const refresh = async (secretChanged) => {
    const mine = ++turn;
    const secret = $("secret").value;
    const { account, counter, length, chosen } = settings();
    const site = passwords.site($("site").value);
    const lacking = missing(site, chosen);
    say(lacking || "Working it out…");
    try {
      const [words, result] = await Promise.all([
        secretChanged && secret ? passwords.fingerprint(secret) : null,
        lacking ? "" : passwords.derive({ secret, site, account, counter, length, chosen }),
      ]);
      if (mine !== turn) return;
      if (words) showWords(words);
      password = result;
      if (result) say(`For ${site}, ${length} characters, ${passwords.strength(length, chosen)} bits of chance.`);
    } catch (error) {
      if (mine === turn) say(crypto.subtle ? error.message : "This page needs https:// to work the password out.");
    }
    if (mine === turn) show();
  };

  let secretChanged = false;
  const changed = (event) => {
    if (event?.target === $("remember")) return remember();
    turn++; // what is under way is out of date
    password = "";
    if (event?.target === $("secret")) {
      secretChanged = true;
      note($("secret").value ? "…" : noWords);
    }
    if (event?.target === $("site")) recall();
    if ($("remember").checked) remember();
    show();
    clearTimeout(typing);
    typing = setTimeout(() => {
      refresh(secretChanged);
      secretChanged = false;
    }, pauseMillis);
  };

  // --- copying and forgetting

  const copy = async (event) => {
    event.preventDefault();
    if (!password) return;
    try {
      await navigator.clipboard.writeText(password);
    } catch {
      say("The browser did not allow copying: choose Show and copy it by hand.");
      return;
    }
    clearTimeout(clearing);
    clearing = setTimeout(forgetClipboard, clipboardSeconds * 1000);
    say(`Copied. The clipboard is cleared in ${clipboardSeconds} seconds.`);
  };

  // A page in the background may not write to the clipboard, so it is tried
  // again when the reader is back.
  const forgetClipboard = async () => {
    try {
      await navigator.clipboard.writeText("");
      say("The clipboard has been cleared.");
    } catch {
      addEventListener("focus", forgetClipboard, { once: true });
    }
  };

  const forget = () => {
    $("secret").value = "";
    $("reveal").setAttribute("aria-pressed", "false");
    $("reveal").textContent = "Show";
    changed({ target: $("secret") });
  };

  const rest = () => {
    clearTimeout(resting);
    resting = setTimeout(forget, restMinutes * 60 * 1000);
  };

  const toggle = (button, act) => {
    const open = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Hide" : "Show";
    act(open);
  };

  $("form").addEventListener("input", changed);
  $("form").addEventListener("submit", copy);
  $("peek").addEventListener("click", () => toggle($("peek"), (open) => { $("secret").type = open ? "text" : "password"; }));
  $("reveal").addEventListener("click", () => toggle($("reveal"), show));
  for (const kind of ["input", "keydown", "pointerdown"]) addEventListener(kind, rest);
  addEventListener("pagehide", forget);
  listSites();
  note(noWords);
  changed();
})();
