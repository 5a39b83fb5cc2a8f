"use strict";
// A browser that once had no certificate to show goes on showing none until a
// handshake is refused. The server is asked for one refusal, and then the page
// is loaded as if for the first time.
(() => {
  const button = document.getElementById("again");
  button.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await fetch("/.postern/again", { method: "POST", cache: "no-store" });
      await fetch(location.href, { cache: "no-store", redirect: "manual" });
    } catch { /* this is the refusal */ }
    location.reload();
  });
})();
