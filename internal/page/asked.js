"use strict";
// The page that waits for an operator's answer looks for it. Without this
// script the person does, by the link.
(() => {
  const look = async () => {
    try {
      const r = await fetch(location.pathname, { method: "HEAD", cache: "no-store", redirect: "manual", credentials: "same-origin" });
      if (r.status !== 202) return location.reload();
    } catch { /* the server is away for a moment */ }
    setTimeout(look, 4000);
  };
  setTimeout(look, 4000);
})();
