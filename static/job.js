// A job's page beyond plain HTML: the map of its tasks by keyboard, and notices of the browser.
"use strict";

// One stop for the tab key, and arrows within: a map has hundreds of cells.
function offerArrows() {
  let current = null;
  const cells = () => [...document.querySelectorAll("#map a")];
  const words = () => document.getElementById("map-words");

  function rove() {
    const all = cells();
    const chosen = all.find((cell) => cell.id === current) ?? all.find((cell) => cell.ariaCurrent) ?? all[0];
    for (const cell of all) cell.tabIndex = cell === chosen ? 0 : -1;
  }
  function columns(all) {
    const top = all[0].getBoundingClientRect().top;
    const next = all.findIndex((cell) => cell.getBoundingClientRect().top > top + 2);
    return next < 0 ? all.length : next;
  }
  function say(cell) {
    if (words()) words().textContent = cell.getAttribute("aria-label");
  }

  document.addEventListener("keydown", (event) => {
    const cell = event.target.closest?.("#map a");
    if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = cells();
    const at = all.indexOf(cell);
    const to = {
      ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns(all), ArrowUp: at - columns(all), Home: 0, End: all.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const target = all[to];
    if (!target) return;
    current = target.id;
    rove();
    target.focus();
  });
  document.addEventListener("focusin", (event) => {
    const cell = event.target.closest?.("#map a");
    if (cell) { current = cell.id; rove(); say(cell); }
  });
  document.addEventListener("pointerover", (event) => {
    const cell = event.target.closest?.("#map a");
    if (cell) say(cell);
  });
  document.body.addEventListener("htmx:afterSwap", rove);
  rove();
}

// How the job stands, as the page says it.
function standing() {
  const { job, name, state, started, failed } = document.getElementById("job-head").dataset;
  return { job, name, state, started: started === "true", failed: failed === "true", ended: "ended" in document.getElementById("job-head").dataset };
}

// Tells of the start, the first failure and the end, if somebody has asked for it on this page.
function offerNotices() {
  const button = document.getElementById("tell");
  if (!button || !("Notification" in window)) return;
  let before = standing();
  const key = `campusgrid-tell ${before.job}`;
  const isOn = () => Notification.permission === "granted" && localStorage.getItem(key) !== null;

  function show() {
    button.hidden = before.ended;
    button.setAttribute("aria-pressed", String(isOn()));
    button.textContent = Notification.permission === "denied" ? "This browser shows no notices" : "Tell me in this browser";
    button.disabled = Notification.permission === "denied";
    // The stream of a page in the background is closed otherwise.
    document.body.toggleAttribute("data-stay", isOn() && !before.ended);
  }
  function tell(words) {
    const notice = new Notification(`${before.name} (job ${before.job})`, { body: words, tag: key });
    notice.addEventListener("click", () => { window.focus(); notice.close(); });
  }

  button.addEventListener("click", async () => {
    if (isOn()) localStorage.removeItem(key);
    else if ((await Notification.requestPermission()) === "granted") localStorage.setItem(key, "");
    show();
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    const now = standing();
    const news = now.ended && !before.ended ? `It has ${now.state}.`
      : now.failed && !before.failed ? "A task has failed."
      : now.started && !before.started ? "It has started." : "";
    before = now;
    if (news && isOn()) tell(news);
    if (now.ended) localStorage.removeItem(key);
    show();
  });
  // The form has asked already, on a click of its own.
  if (new URLSearchParams(location.search).get("tell") === "browser") {
    if (Notification.permission === "granted") localStorage.setItem(key, "");
    history.replaceState(null, "", location.pathname);
  }
  show();
}

offerArrows();
offerNotices();
