"use strict";
// What the pages that make a key have in common.
const $ = (id) => document.getElementById(id);
const all = (selector) => [...document.querySelectorAll(selector)];
const show = (element, on) => { element.hidden = !on; };
const sentence = (text) => text[0].toUpperCase() + text.slice(1).replace(/\.?$/, ".");

// What this browser is, and whether a certificate can be installed from it.
const ua = navigator.userAgent;
const system = /iPhone|iPad|iPod/.test(ua) || /Macintosh/.test(ua) && navigator.maxTouchPoints > 1 ? "ios"
  : /Android/.test(ua) ? "android" : /Macintosh/.test(ua) ? "mac" : /Windows/.test(ua) ? "windows" : "linux";

const post = (path, value) => fetch(path, {
  method: "POST", credentials: "same-origin", cache: "no-store", referrerPolicy: "no-referrer",
  headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
});

// Copying. What cannot be copied is selected, so that a person can.
const copied = { password: () => $("password").textContent };
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

// obtain makes the key, has ask fetch its certificate, and shows what to do
// next. The key is kept for another try: the server answers the same key
// again, also when its first answer was lost.
let made;
const obtain = async (ask) => {
  show($("make"), false);
  show($("failed"), false);
  show($("working"), true);
  try {
    made = made || await keymaker.makeKey();
    finish(await ask(made.csr));
  } catch (e) {
    const why = $("why");
    why.textContent = e.said ? sentence(e.said) : made ? why.dataset.lost : why.dataset.old;
    show($("failed"), true);
    show($("retry"), !e.said && made);
  }
  show($("working"), false);
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
  all("[data-before]").forEach((part) => show(part, false));
  all("#made, #rejected").forEach((part) => show(part, true));
  $("made-title").focus();
};
