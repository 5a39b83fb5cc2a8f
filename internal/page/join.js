(() => {
  const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
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

  const phone = system === "ios" || system === "android";
  const wrong = () => {
    if (/; wv\)|FBAN|FBAV|FB_IAB|Instagram|\bLine\/|MicroMessenger|WhatsApp|Snapchat|musical_ly|LinkedInApp|\bGSA\/|Telegram/.test(ua)) return "app";
    if (system === "ios" && !/Safari\//.test(ua)) return "app";
    if (system === "ios" && /CriOS|FxiOS|EdgiOS|OPT\/|OPiOS|DuckDuckGo|YaBrowser/.test(ua)) return "safari";
    const firefox = /Firefox\/(\d+)/.exec(ua);
    if (system === "android" && firefox && firefox[1] < 142) return "firefox";
    return "";
  };

  // Apple's systems make the key themselves, by a profile, where the server has
  // one.
  const profile = (system === "ios" || system === "mac") && $("profile");

  let base = location.origin, good = "", anyway = false, here = !profile;
  const offer = (from, fragment) => {
    base = from;
    good = invitation(fragment);
    const hindrance = anyway ? "" : wrong();
    show($("mistyped"), fragment && !good);
    all("[data-wrong]").forEach((note) => show(note, good && note.dataset.wrong === hindrance));
    const ready = good && !hindrance && base === location.origin;
    show($("make"), ready && here);
    if (profile) show(profile, ready && !here);
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

  if (profile) {
    const form = $("profile-form");
    const state = async () => {
      const response = await post(form.dataset.state, { code: good.split(".")[0], csr: "" });
      return { status: response.status, ...await response.json() };
    };
    // follow waits until the device has asked for its certificate, which uses the
    // invitation up.
    const follow = async (invited) => {
      for (;;) {
        await pause(3);
        const now = await state().catch(() => ({})); // Settings is in front, or there is no network for a while
        if (now.code === "spent") break;
      }
      $("profile-name").textContent = invited.name;
      showSites(invited.sites, $("profile-sites"));
      show($("profile-waiting"), false);
      show($("profile-done"), true);
      $("profile-done-title").focus();
    };
    const fail = (why) => {
      $("why").textContent = why;
      show($("failed"), true);
      show($("retry"), false);
    };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      show($("failed"), false);
      const invited = await state().catch(() => null);
      if (!invited) return fail($("why").dataset.lost);
      if (invited.code === "pending") { // words have to be compared, which Settings cannot show
        show(profile, false);
        return enrol();
      }
      if (invited.status !== 200) return fail(sentence(invited.detail));
      form.elements.code.value = good.split(".")[0];
      form.submit();
      show(profile, false);
      all("[data-before]").forEach((part) => show(part, false));
      all("[data-profile-guide]").forEach((guide) => { guide.open = guide.dataset.profileGuide === system; });
      show($("profiled"), true);
      $("profiled-title").focus();
      follow(invited);
    });
    $("here").addEventListener("click", () => {
      here = true;
      offer(base, good);
      $("begin").focus();
    });
  }

  copied.link = link;
  copied.command = () => $("command").textContent;

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
  const report = async (step) => {
    try {
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(good)));
      const invite = [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      await post("/join/report", { invite, step, device: await described() });
    } catch { /* nobody has to know */ }
  };

  // Enrolling.
  const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const ask = async (csr) => {
    report("key");
    for (let missed = 0; ; ) {
      let response, answer;
      try {
        response = await post("/join", { code: good.split(".")[0], csr });
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
  const enrol = async () => {
    await obtain(ask);
    show($("waiting"), false);
  };
  $("begin").addEventListener("click", enrol);
  $("retry").addEventListener("click", enrol);

  if (phone) $("terminal").open = false;
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();
