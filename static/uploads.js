// Sends files to a draft through the API: small ones whole, large ones in pieces, so that neither a
// broken connection nor a page that was closed undoes what has come already.
"use strict";

// Sent at once; also how much is sent again at most after a break.
const PIECE_BYTES = 8 * 1024 * 1024;
// Files on their way at once. Browsers open six connections to a server, and the page's stream is one.
const AT_ONCE = 3;
// Breaks in a row after which a file is given up; the pauses between them add up to a few minutes.
const BREAKS_MAX = 8;

// A connection that broke; to be tried again.
class Broken extends Error {}

// One request whose body's progress can be seen, which `fetch` does not offer.
function send(method, address, { body = null, headers = {}, token, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, address);
    request.setRequestHeader("X-Form-Token", token);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    if (onProgress) request.upload.addEventListener("progress", (event) => onProgress(event.loaded));
    request.addEventListener("load", () => {
      let answer = null;
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // An answer without content, or a proxy's own page.
      }
      resolve({ status: request.status, answer, wait: Number(request.getResponseHeader("Retry-After")) });
    });
    request.addEventListener("error", () => reject(new Broken("the connection broke")));
    request.addEventListener("abort", () => reject(new DOMException("taken back", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    if (signal?.aborted) request.abort();
    request.send(body);
  });
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("taken back", "AbortError"));
    });
  });
}

// The path of a file as a part of an address.
function inAddress(path) {
  return path.split("/").map(encodeURIComponent).join("/");
}

// One file on its way to a draft.
class Upload {
  constructor(draft, token, path, file, unpack) {
    this.path = path;
    this.file = file;
    this.sent = 0;
    this.stop = new AbortController();
    this.token = token;
    this.whole = `/api/v1/jobs/${draft}/files/${inAddress(path)}`;
    this.pieces = `/api/v1/jobs/${draft}/uploads/${inAddress(path)}`;
    this.query = unpack ? "?unpack=true" : "";
    // What a resumed upload must be the rest of: a file of this size, last changed then.
    this.mark = { key: `campusgrid-upload ${draft} ${path}`, is: `${file.size} ${file.lastModified}` };
  }

  // Resolves once the draft has the file; rejects with words that say why it has not.
  async run(onProgress) {
    const isLarge = this.file.size > PIECE_BYTES;
    let offset = isLarge ? await this.found() : 0;
    let breaks = 0;
    for (;;) {
      const before = offset;
      try {
        const { status, answer, wait } = await this.step(isLarge, offset, onProgress);
        if (status === 201) break;
        if (status === 200 && isLarge) offset = answer.offset_bytes;
        else if (status === 409 && answer?.error.code === "upload_offset") offset = answer.error.offset_bytes;
        else if (status === 503 || status === 429) await pause(1000 * Math.min(wait || 1, 60), this.stop.signal);
        else throw new Error(answer?.error?.message ?? `the manager answered ${status}`);
      } catch (error) {
        if (!(error instanceof Broken)) throw error;
        if (breaks >= BREAKS_MAX) throw new Error("the connection broke too often; add the file again to go on");
        await pause(500 * 2 ** breaks, this.stop.signal);
        if (isLarge) offset = await this.found();
      }
      breaks = offset > before ? 0 : breaks + 1;
      if (breaks > 2 * BREAKS_MAX) throw new Error("it does not get on; try again later");
      this.sent = offset;
    }
    this.sent = this.file.size;
    localStorage.removeItem(this.mark.key);
  }

  step(isLarge, offset, onProgress) {
    const progress = (bytes) => {
      this.sent = Math.min(offset + bytes, this.file.size);
      onProgress();
    };
    const common = { token: this.token, onProgress: progress, signal: this.stop.signal };
    if (!isLarge) return send("PUT", this.whole + this.query, { body: this.file, ...common });
    const body = this.file.slice(offset, offset + PIECE_BYTES);
    const headers = { "Upload-Offset": String(offset), "Upload-Length": String(this.file.size) };
    return send("PATCH", this.pieces + this.query, { body, headers, ...common });
  }

  // How much of this very file the manager has already.
  async found() {
    const same = localStorage.getItem(this.mark.key) === this.mark.is;
    localStorage.setItem(this.mark.key, this.mark.is);
    const common = { token: this.token, signal: this.stop.signal };
    try {
      if (!same) {
        await send("DELETE", this.pieces, common);
        return 0;
      }
      const { status, answer } = await send("GET", this.pieces, common);
      return status === 200 && answer.size_bytes === this.file.size ? answer.offset_bytes : 0;
    } catch (error) {
      if (error instanceof Broken) return 0; // The next piece is told the right offset.
      throw error;
    }
  }
}

// All files of a page that are on their way.
class Uploads {
  constructor({ onChange, onIdle }) {
    this.waiting = [];
    this.running = new Set();
    this.failed = [];
    this.done = { files: 0, bytes: 0 };
    this.onChange = onChange;
    this.onIdle = onIdle;
  }

  get isBusy() {
    return this.waiting.length + this.running.size > 0;
  }

  add(uploads) {
    this.failed = this.failed.filter((old) => uploads.every((upload) => upload.path !== old.path));
    this.waiting.push(...uploads);
    this.next();
  }

  stop(upload) {
    upload.stop.abort();
    this.waiting = this.waiting.filter((other) => other !== upload);
    this.failed = this.failed.filter((other) => other !== upload);
    this.onChange();
  }

  stopAll() {
    for (const upload of [...this.waiting, ...this.running]) this.stop(upload);
  }

  next() {
    while (this.waiting.length > 0 && this.running.size < AT_ONCE) this.start(this.waiting.shift());
    this.onChange();
  }

  async start(upload) {
    this.running.add(upload);
    try {
      await upload.run(() => this.onChange());
      this.done.files += 1;
      this.done.bytes += upload.file.size;
    } catch (error) {
      if (error.name !== "AbortError") {
        upload.problem = error.message;
        this.failed.push(upload);
      }
    }
    this.running.delete(upload);
    this.next();
    if (!this.isBusy) this.onIdle();
  }
}

// The files that were dropped, those in folders with their paths.
async function filesOfDrop(transfer) {
  const found = [];
  // All entries must be asked for before the first wait: the browser then forgets what was dropped.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ path: entry.fullPath.replace(/^\//, ""), file });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const one of some) await walk(one);
    }
  };
  // Browsers that know no entries have files at least.
  if (entries.length === 0) return [...transfer.files].map((file) => ({ path: file.name, file }));
  for (const entry of entries) await walk(entry);
  return found;
}
