// Corrections on their way to the server: drafts as the reader draws, a correction when it is saved, verdicts.

import { loadStoredMask } from "../reading/opening.js";

const DRAFT_AFTER_MS = 1500;
const AGAIN_AFTER_MS = 3000;

export class Review {
  constructor(room) {
    this.room = room;
    this.timer = null;
    this.reset();
  }

  reset() {
    clearTimeout(this.timer);
    this.seconds = 0;
    this.lastEdit = null;
    this.isKept = true;
    this.isWaiting = false;
    this.state = "";
    this.saving = Promise.resolve();
  }

  // Count the time spent drawing, pauses of more than a minute left out, and keep a draft soon.
  edited() {
    const now = performance.now();
    if (this.lastEdit !== null && now - this.lastEdit < 60_000) this.seconds += (now - this.lastEdit) / 1000;
    this.lastEdit = now;
    this.keepSoon();
  }

  keepSoon() {
    this.isKept = false;
    this.say("not saved");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keepDraft(), DRAFT_AFTER_MS);
  }

  say(state) {
    this.state = state;
    this.room.panel?.update();
  }

  send(path, method, body, headers = {}) {
    return this.room.server.request(`${this.room.study.base}/${path}`, { method, body, headers });
  }

  async packed() {
    const stream = new Blob([this.room.mask]).stream().pipeThrough(new CompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  headers() {
    return { "If-Match": this.room.maskSha256, "X-Seconds": String(Math.round(this.seconds)), "Content-Type": "application/octet-stream" };
  }

  keepDraft() {
    clearTimeout(this.timer);
    const { mask } = this.room;
    if (!this.room.edit.isDirty) return this.saving;
    this.saving = this.saving.then(async () => {
      if (this.room.mask === mask && !this.room.edit.isDirty) return; // the save before it took it along
      const drawn = this.lastEdit;
      try {
        await this.send("draft", "PUT", await this.packed(), this.headers());
        if (this.isWaiting) this.room.say("");
        this.isWaiting = false;
        this.isKept = drawn === this.lastEdit;
        if (this.isKept && this.room.edit.isDirty) this.say("draft kept");
      } catch (error) {
        this.draftFailed(error);
      }
    });
    return this.saving;
  }

  // Keep what is drawn as the study is left: all of it as it is now, since the room goes on to another study.
  keepLeft() {
    clearTimeout(this.timer);
    const { server, study } = this.room;
    const url = `${study.base}/draft`;
    const headers = { ...this.headers(), Authorization: `Bearer ${server.permitFor(url)}` };
    const packed = this.packed();
    this.left = this.saving
      .then(async () => server.request(url, { method: "PUT", body: await packed, headers }))
      .catch((error) => this.room.say(`What you drew in ${study.name} could not be kept: ${error.message}`));
  }

  // Where the server cannot be reached, or the session was lost, the draft is sent again until it is kept.
  draftFailed(error) {
    this.say("draft not kept");
    if (error.isAnswer) {
      this.room.say(`The draft could not be kept: ${error.message}`);
      return;
    }
    this.isWaiting = true;
    this.room.say("The server cannot be reached. What you drew is safe in this page and is sent again until it is kept: leave the page open.");
    if (this.room.isOpen) this.timer = setTimeout(() => this.keepDraft(), AGAIN_AFTER_MS);
  }

  // Lay the reader's draft over the mask it was drawn on; say where others wait that were drawn over older masks.
  async takeUpDraft() {
    const { room } = this;
    const { id } = room.study;
    await room.drafts.load();
    if (room.study.id !== id) return;
    const { kept } = room.drafts;
    if (kept.some((one) => one.over === room.maskSha256)) {
      const response = await this.send(`draft?over=${room.maskSha256}`, "GET");
      if (response.status !== 204 && (await this.layOver(response)) > 0) {
        clearTimeout(this.timer);
        this.isKept = true;
        this.say("draft taken up");
      }
    }
    if (kept.some((one) => one.over !== room.maskSha256)) room.say("A draft of yours was drawn over an older mask: under Review it can be laid over this one, or put on it.");
  }

  // Lay labels that arrived over the mask, as one change that can be undone; how many voxels it changed.
  async layOver(response) {
    const { room } = this;
    const labels = new room.mask.constructor(await response.arrayBuffer());
    if (labels.length !== room.mask.length) throw new Error("the draft arrived incomplete; reload the page");
    room.edit.begin();
    for (let offset = 0; offset < labels.length; offset += 1) if (labels[offset] !== room.mask[offset]) room.edit.set(offset, labels[offset]);
    const changed = room.edit.end();
    if (changed > 0) this.seconds = Number(response.headers.get("X-Seconds") ?? 0);
    return changed;
  }

  // One after another, and drafts between: each begins from what the one before it left on the server.
  async save(reason) {
    clearTimeout(this.timer);
    const saving = this.saving.then(() => this.saveNow(reason));
    this.saving = saving;
    const error = await saving;
    if (error === null) return;
    await this.keepDraft();
    if (error.isConflict) await this.room.drafts.fellBehind();
  }

  // Save what is drawn by now; the error that kept it from being saved, null where there was none.
  async saveNow(reason) {
    const { room } = this;
    const isSecond = room.study.is_second_reading;
    if (isSecond && !room.mayEdit()) return null; // its draft may not have been taken up yet
    if (!room.edit.isDirty && !isSecond) {
      room.say("Nothing was changed, so there is nothing to save.");
      return null;
    }
    this.say("saving");
    const sent = { mask: room.mask, change: room.edit.latest, seconds: this.seconds };
    try {
      const headers = { ...this.headers(), "X-Reason": encodeURIComponent(reason) };
      const response = await this.send("mask", "PUT", await this.packed(), headers);
      const saved = await response.json();
      room.panel.reasonKept(reason);
      if (room.mask === sent.mask) this.saved(saved.mask_sha256, sent);
      if (isSecond) room.say("Your reading is kept beside the first. Whoever opens the study sees how far the two agree.");
      room.page.trigger("saved", saved.mask_sha256);
    } catch (error) {
      this.say("not saved");
      room.say(error.message);
      return error;
    }
    return null;
  }

  // The mask as it was sent is the one that corrections begin from; what was drawn since is not saved yet.
  saved(maskSha256, sent) {
    const { room } = this;
    room.maskSha256 = maskSha256;
    room.edit.saved(sent.change);
    this.seconds -= sent.seconds;
    if (room.edit.isDirty) {
      this.keepSoon();
      return;
    }
    clearTimeout(this.timer);
    this.isKept = true;
    this.lastEdit = null;
    this.say("saved");
  }

  async discard() {
    const { room } = this;
    clearTimeout(this.timer);
    await this.saving;
    // A draft that another reader's save left behind is on the list of drafts, and stays there.
    if (!room.drafts.isBehind) await this.send(`draft?over=${room.maskSha256}`, "DELETE");
    await loadStoredMask(room);
    this.isKept = true;
    this.seconds = 0;
    this.say("");
  }

  // Measurements as they are now, one sending after another.
  keepMarks(marks) {
    this.marksSent = (this.marksSent ?? Promise.resolve())
      .then(() => this.send("marks", "PUT", JSON.stringify({ marks }), { "Content-Type": "application/json" }))
      .catch((error) => this.room.say(`The measurement could not be kept: ${error.message}`));
    return this.marksSent;
  }

  async decide(decision, finding, reason) {
    const { room } = this;
    if (room.isBlind()) return;
    if (room.edit.isDirty) {
      room.say("Save or discard your correction first: a verdict is on the mask that is stored.");
      return;
    }
    try {
      const body = JSON.stringify({ decision, finding, reason, mask_sha256: room.maskSha256 });
      await this.send("verdict", "POST", body, { "Content-Type": "application/json" });
      room.panel.reasonKept(reason);
      room.page.trigger("saved", `${decision} ${Date.now()}`);
    } catch (error) {
      room.say(error.message);
    }
  }
}
