// What pages do beyond htmx: they listen for changes, follow logs and show times in local time.
"use strict";

// What is only for browsers without scripts goes.
document.documentElement.classList.add("js");

// A stream is open only while its page is in view, or has been asked to tell of something: browsers
// allow six connections to a server, and pages in the background would use them up.
function whileVisible(open) {
  let source = null;
  const update = () => {
    if (document.hidden && "stay" in document.body.dataset) return;
    if (document.hidden && source) {
      source.close();
      source = null;
    } else if (!document.hidden && !source) {
      source = open();
    }
  };
  document.addEventListener("visibilitychange", update);
  update();
  return () => {
    document.removeEventListener("visibilitychange", update);
    if (source) source.close();
  };
}

// Listens to the page's one stream: tells htmx, through events on the body, that something changed,
// and shows what comes of the log.
function listen() {
  if (!document.body.dataset.events) return;
  const address = new URL(document.body.dataset.events, location.href);
  const log = document.querySelector("[data-follow]");
  const stop = whileVisible(() => {
    const source = new EventSource(address);
    source.addEventListener("job", (event) => {
      address.searchParams.set("after", event.data);
      document.body.dispatchEvent(new Event("cg-job"));
    });
    source.addEventListener("grid", () => document.body.dispatchEvent(new Event("cg-grid")));
    if (log) follow(log, source, address, stopAtEnd);
    return source;
  });
  // The log may end before its job, and the page may know of the job's end before the log's.
  function stopAtEnd() {
    if (document.querySelector("[data-ended]") && !document.querySelector("[data-follow]")) stop();
  }
  document.body.addEventListener("htmx:afterSettle", stopAtEnd);
}

// Nodes kept of a log; the plain text behind the link has the rest.
const PIECES_MAX = 2000;

function follow(log, source, address, onEnd) {
  const step = log.querySelector("#step");
  const boxes = { stdout: log.querySelector("#log-stdout"), stderr: log.querySelector("#log-stderr") };

  const append = (box, text) => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    box.append(text);
    if (box.childNodes.length > PIECES_MAX) box.firstChild.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
  };
  const seen = (event) => address.searchParams.set("from", event.lastEventId);

  source.addEventListener("message", (event) => {
    const piece = JSON.parse(event.data);
    append(boxes[piece.stream], piece.text);
    seen(event);
  });
  source.addEventListener("restart", (event) => {
    for (const box of Object.values(boxes)) box.textContent = "";
    seen(event);
  });
  source.addEventListener("step", (event) => {
    step.textContent = event.data;
  });
  source.addEventListener("end", (event) => {
    step.textContent = "";
    delete log.dataset.follow;
    seen(event);
    onEnd();
  });
}

// Files that can be chosen instead of pasting them; without this script there is only the field.
function offerFiles() {
  for (const input of document.querySelectorAll("input[data-fills]")) {
    input.hidden = false;
    input.addEventListener("change", async () => {
      const field = document.getElementById(input.dataset.fills);
      if (input.files.length > 0) field.value = await input.files[0].text();
    });
  }
}

// Buttons that copy a text; without this script, or where pages may not, it is selected by hand.
function offerCopies() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.hidden = false;
    const text = document.getElementById(button.dataset.copies);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.innerText);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text); // The browser's owner may have forbidden the other.
      }
    });
  }
}

function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = new Date(time.dateTime).toLocaleString();
    if ("local" in time.dataset) time.textContent = time.title;
  }
}

// A part of a page that is fetched anew comes with its details closed; those that the reader has
// opened stay open.
function keepDetailsOpen() {
  let open = [];
  document.body.addEventListener("htmx:beforeSwap", () => {
    open = [...document.querySelectorAll("details[id][open]")].map((details) => details.id);
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  });
}

// Moments that a form takes in the reader's own time: it is told how far that is from UTC. One that it
// shows is in UTC until then.
function useOwnTime(root) {
  for (const zone of root.querySelectorAll("input[data-zone-minutes]")) {
    const field = document.getElementById(zone.dataset.zoneMinutes);
    const minutes = () => -new Date(field?.value || Date.now()).getTimezoneOffset();
    if (zone.value) continue;
    if (field?.value) {
      const at = new Date(`${field.value}Z`);
      field.value = new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
    }
    zone.value = minutes();
    field?.addEventListener("change", () => { zone.value = minutes(); });
  }
  for (const words of root.querySelectorAll("[data-zone-words]")) words.textContent = "your time";
}

// Buttons that name this browser's time zone.
function offerZones() {
  for (const button of document.querySelectorAll("button[data-zone-name]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      document.getElementById(button.dataset.zoneName).value = Intl.DateTimeFormat().resolvedOptions().timeZone;
    });
  }
}

listen();
useOwnTime(document);
offerZones();
offerFiles();
offerCopies();
keepDetailsOpen();
showLocalTimes(document);
document.body.addEventListener("htmx:afterSwap", () => {
  showLocalTimes(document);
  useOwnTime(document);
});
