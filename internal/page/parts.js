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

// profileOf returns a configuration profile that holds the file and its password,
// so that an Apple device asks for nothing but its own passcode.
const profileOf = (answer, password) => {
  const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const bytes = keymaker.pack({ key: made.key, certificates: answer.certificate, name: answer.name, password, encoding: "compatible" });
  const id = `postern.${location.hostname}.${answer.name.replace(/\//g, ".")}`;
  const part = (type, name, title, rest) => `<dict><key>PayloadType</key><string>${type}</string><key>PayloadVersion</key><integer>1</integer>`
    + `<key>PayloadIdentifier</key><string>${escape(name)}</string><key>PayloadUUID</key><string>${crypto.randomUUID()}</string>`
    + `<key>PayloadDisplayName</key><string>${escape(title)}</string>${rest}</dict>`;
  const identity = part("com.apple.security.pkcs12", `${id}.key`, `Key of ${answer.name}`,
    `<key>Password</key><string>${password}</string><key>PayloadContent</key><data>${btoa(String.fromCharCode(...bytes))}</data>`);
  return URL.createObjectURL(new Blob([`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">${part("Configuration", id, `${answer.name} at ${location.hostname}`, `<key>PayloadContent</key><array>${identity}</array>`)}</plist>
`], { type: "application/x-apple-aspen-config" }));
};

const showSites = (list, where) => {
  for (const site of list || []) {
    const a = document.createElement("a");
    [a.className, a.href, a.textContent, a.rel] = ["button", site, new URL(site).host, "noreferrer"];
    where.append(a, " ");
  }
};

const finish = (answer) => {
  const password = keymaker.password();
  $("name").textContent = answer.name;
  $("password").textContent = password;
  const file = answer.name.replace(/[^a-z0-9]+/gi, "-");
  for (const [id, encoding] of [["file", "compatible"], ["modern", "modern"]]) {
    $(id).href = fileOf(answer, password, encoding);
    $(id).download = `${file}.p12`;
  }
  if (system === "ios" || system === "mac") {
    $("profile-file").href = profileOf(answer, password);
    $("profile-file").download = `${file}.mobileconfig`;
    show($("as-profile"), true);
  }
  showSites(answer.sites, $("sites"));
  all("[data-guide]").forEach((guide) => { guide.open = guide.dataset.guide === system; });
  all("[data-before]").forEach((part) => show(part, false));
  all("#made, #rejected").forEach((part) => show(part, true));
  $("made-title").focus();
};
