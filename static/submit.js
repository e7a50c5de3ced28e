// The form of a job beyond plain HTML: files that are sent while the rest is filled in, deadlines in
// the reader's own time, and more rows where more are wanted.
"use strict";

const form = document.getElementById("submit-form");
const ARCHIVE = /\.(zip|tar|tgz|tar\.gz|tar\.zst)$/i;

// What was typed, without files: those go their own way.
function typed() {
  const fields = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (typeof value === "string") fields.append(name, value);
  return fields;
}

let making = null;

// The draft that files go to; the first file makes one.
function draft() {
  if (form.dataset.draft) return Promise.resolve(form.dataset.draft);
  making ??= makeDraft().finally(() => { making = null; });
  return making;
}

async function makeDraft() {
  const answer = await fetch("/submit/draft", { method: "POST", body: typed() });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const made = page.querySelector("#submit-form[data-draft]");
  if (!made) throw new Error(page.querySelector("#problem, main")?.textContent.trim() ?? "no draft was made");
  form.dataset.draft = made.dataset.draft;
  form.setAttribute("action", made.getAttribute("action"));
  for (const id of ["form-head", "form-buttons", "file-list"]) {
    document.getElementById(id).replaceWith(page.getElementById(id));
  }
  history.replaceState(null, "", new URL(answer.url).pathname);
  return form.dataset.draft;
}

// Shows the list of files as the manager has it.
async function refreshList() {
  if (!form.dataset.draft) return;
  const answer = await fetch(`/jobs/${form.dataset.draft}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const list = page.getElementById("file-list");
  if (list) document.getElementById("file-list").replaceWith(list);
  form.dispatchEvent(new Event("input", { bubbles: true })); // The price may depend on a file's lines.
}

function inWords(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

function offerUploads() {
  const list = document.getElementById("uploads");
  const words = document.getElementById("upload-words");
  const drop = document.getElementById("drop");
  const rows = new Map();
  let whenIdle = null;
  const uploads = new Uploads({ onChange: show, onIdle });

  function show() {
    const shown = new Set([...uploads.running, ...uploads.failed]);
    for (const [upload, row] of rows) {
      if (!shown.has(upload)) { row.remove(); rows.delete(upload); }
    }
    for (const upload of shown) {
      if (!rows.has(upload)) rows.set(upload, list.appendChild(rowOf(upload)));
      const row = rows.get(upload);
      row.querySelector("progress").value = upload.sent;
      row.querySelector(".said").textContent = upload.problem ?? `${inWords(upload.sent)} of ${inWords(upload.file.size)}`;
      row.classList.toggle("failed", Boolean(upload.problem));
    }
    const left = uploads.waiting.length + uploads.running.size;
    // Told when the number of files changes, not with every byte: it is read aloud.
    const now = left > 0 ? `${uploads.done.files} of ${uploads.done.files + left} files are there`
      : uploads.failed.length > 0 ? "Some files have not come: see above." : uploads.done.files > 0 ? "All files are there." : "";
    if (words.textContent !== now && !whenIdle) words.textContent = now;
  }

  function rowOf(upload) {
    const row = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = upload.path;
    name.className = "name";
    const bar = document.createElement("progress");
    bar.max = Math.max(upload.file.size, 1);
    bar.setAttribute("aria-label", `Upload of ${upload.path}`);
    const said = document.createElement("span");
    said.className = "said muted";
    const stop = document.createElement("button");
    stop.type = "button";
    stop.className = "quiet";
    stop.textContent = "Take back";
    stop.setAttribute("aria-label", `Take back ${upload.path}`);
    stop.addEventListener("click", () => { uploads.stop(upload); rows.get(upload)?.remove(); rows.delete(upload); });
    row.append(name, bar, said, stop);
    return row;
  }

  async function onIdle() {
    await refreshList();
    const then = whenIdle;
    whenIdle = null;
    show();
    if (then && uploads.failed.length === 0) form.requestSubmit(then);
  }

  async function add(found) {
    if (found.length === 0) return;
    document.getElementById("files-part").open = true;
    try {
      const job = await draft();
      const token = form.elements.form_token.value;
      const unpack = document.getElementById("unpack").checked;
      uploads.add(found.map(({ path, file }) => new Upload(job, token, path, file, unpack && ARCHIVE.test(path))));
    } catch (error) {
      words.textContent = error.message;
    }
  }

  for (const input of [document.getElementById("files"), document.getElementById("folder")]) {
    input.addEventListener("change", () => {
      add([...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file })));
      input.value = ""; // What is on its way already is not sent once more with the form.
    });
  }
  document.getElementById("drop-words").hidden = false;
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      if (![...event.dataTransfer.types].includes("Files")) return;
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    add(await filesOfDrop(event.dataTransfer));
  });

  form.addEventListener("click", async (event) => {
    const button = event.target.closest("button[name=remove]");
    if (!button) return;
    event.preventDefault();
    button.disabled = true;
    const address = `/api/v1/jobs/${form.dataset.draft}/files/${inAddress(button.value)}`;
    const { status, answer } = await send("DELETE", address, { token: form.elements.form_token.value });
    words.textContent = status < 300 ? `${button.value} is removed.` : answer?.error?.message ?? "It could not be removed.";
    await refreshList();
    document.getElementById("files").focus();
  });

  form.addEventListener("submit", (event) => {
    if (event.submitter?.id === "discard") { uploads.stopAll(); return; }
    if (!uploads.isBusy) return;
    event.preventDefault();
    whenIdle = event.submitter;
    words.textContent = "It will be sent once all files are there.";
  });
  addEventListener("beforeunload", (event) => { if (uploads.isBusy) event.preventDefault(); });
}

// What is typed into a draft's form reaches the manager when it is launched. Until then this tab has it.
function keepTyped() {
  const key = () => `campusgrid-draft ${form.dataset.draft}`;
  const own = ["form_token", "key", "draft", "zone_minutes"];
  const kept = form.dataset.draft && !document.getElementById("problem") && sessionStorage.getItem(key());
  if (kept) {
    const fields = new URLSearchParams(kept);
    for (const element of form.elements) {
      if (!element.name || own.includes(element.name) || element.type === "file" || element.tagName === "BUTTON") continue;
      if (element.type === "checkbox" || element.type === "radio") element.checked = fields.getAll(element.name).includes(element.value);
      else if (fields.has(element.name)) element.value = fields.get(element.name);
    }
  }
  form.addEventListener("input", () => {
    if (!form.dataset.draft) return;
    const fields = typed();
    for (const name of own) fields.delete(name);
    sessionStorage.setItem(key(), fields.toString());
  });
  form.addEventListener("submit", () => sessionStorage.removeItem(key()));
}

// The page comes with a deadline in UTC; people think in their own time.
function offerLocalDeadline() {
  const [field, zone] = [document.getElementById("deadline"), document.getElementById("zone_minutes")];
  const minutes = () => -new Date(field.value || Date.now()).getTimezoneOffset();
  if (field.value && !zone.value) {
    const at = new Date(`${field.value}Z`);
    field.value = new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  }
  const keep = () => { zone.value = minutes(); };
  field.addEventListener("input", keep);
  keep();
  document.getElementById("zone").textContent = "your time";
}

// Another row for a job to wait for.
function offerRows() {
  const [button, list] = [document.getElementById("another-after"), document.getElementById("afters")];
  button.hidden = false;
  button.addEventListener("click", () => {
    const row = list.lastElementChild.cloneNode(true);
    const number = list.children.length;
    for (const element of row.querySelectorAll("[id], [for], [name]")) {
      for (const name of ["id", "for", "name"]) {
        const value = element.getAttribute(name);
        if (value) element.setAttribute(name, value.replace(/\.\d+$/, `.${number}`));
      }
      if (element.type === "checkbox") element.checked = false;
      else if (element.tagName === "INPUT") element.value = "";
    }
    list.append(row);
    row.querySelector("input").focus();
    button.hidden = number + 1 >= 50; // As many as the manager takes.
  });
}

// Browsers ask their user only after a click.
function offerNotices() {
  if (!("Notification" in window) || Notification.permission === "denied") return;
  const box = document.getElementById("notify_browser");
  document.getElementById("browser-choice").hidden = false;
  box.addEventListener("change", async () => {
    if (box.checked && (await Notification.requestPermission()) !== "granted") box.checked = false;
  });
}

offerLocalDeadline();
keepTyped(); // After that: what this tab has is in local time already.
offerUploads();
offerRows();
offerNotices();
