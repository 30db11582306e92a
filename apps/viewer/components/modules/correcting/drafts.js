// Drafts that the reader drew over other masks than the newest: looked at, put on the newest, or removed; never lost.

import { button, element, replaceChildren } from "../page/dom.js";
import { DRAFT, loadStoredMask } from "../reading/opening.js";

export class Drafts {
  constructor(room) {
    this.room = room;
    this.host = element("div", { class: "drafts" });
    this.reset();
  }

  reset() {
    this.kept = [];
    this.isBehind = false;
    this.update();
  }

  url(over, onto = "") {
    return `${this.room.study.base}/draft?over=${over}${onto && `&onto=${onto}`}`;
  }

  async load() {
    const { id, base } = this.room.study;
    const kept = await this.room.server.json(`${base}/drafts`);
    if (this.room.study.id !== id) return; // the answer is about a study that was left
    this.kept = kept;
    this.update();
  }

  // Somebody saved while the reader drew: the mask in this page is an older one, too.
  async fellBehind() {
    this.isBehind = true;
    try {
      await this.load();
    } catch (error) {
      this.room.say(`The drafts could not be listed: ${error.message}`);
    }
  }

  // The draft over the mask that the page shows is taken up as it is, and no longer on the list.
  isOverShown(one) {
    return one.over === this.room.maskSha256 && !this.isBehind;
  }

  update() {
    const older = this.kept.filter((one) => !this.isOverShown(one));
    replaceChildren(this.host, ...older.map((one) => this.row(one)));
  }

  row({ over, kept }) {
    const { room } = this;
    const when = new Date(kept).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    const id = `${DRAFT}${over}`;
    return element(
      "div",
      { class: "draft", "data-draft": over },
      element("div", { class: "quiet", text: `Your draft of ${when}, drawn over an older mask` }),
      element(
        "div",
        { class: "row" },
        button("Put on newest", "Draw what this draft changed on the newest mask; it can be undone", () => this.putOnNewest(over)),
        button("Lay over", "Show or hide the draft, dashed, over the mask", () => room.other.choose(room.other.id === id ? "" : id)),
        button("Remove", "Forget this draft for good", () => this.remove(over)),
      ),
    );
  }

  async putOnNewest(over) {
    const { room } = this;
    if (!room.mayEdit()) return;
    try {
      if (!(await this.isPageKept(over))) return;
      await loadStoredMask(room);
      const response = await room.server.request(this.url(over, room.maskSha256));
      if (response.status === 204) throw new Error("it was taken up or removed on another page");
      const changed = await room.review.layOver(response);
      if (changed > 0) await room.review.keepDraft();
      if (over !== room.maskSha256 && (changed === 0 || room.review.isKept)) await this.forget(over);
      await this.load();
      room.say(outcome(changed, response.headers));
      room.page.trigger("saved", `draft ${Date.now()}`);
    } catch (error) {
      room.say(`The draft could not be put on the newest mask: ${error.message}`);
    }
  }

  // Whether nothing in the page is lost when the newest mask takes its place; says what to do where it would be.
  async isPageKept(over) {
    const { edit, maskSha256, review } = this.room;
    if (!edit.isDirty) return true;
    if (over === maskSha256) {
      await review.keepDraft();
      return review.isKept;
    }
    this.room.say("Save or discard your correction first: the draft is put on the mask that is stored.");
    return false;
  }

  async remove(over) {
    try {
      await this.forget(over);
      await this.load();
    } catch (error) {
      this.room.say(`The draft could not be removed: ${error.message}`);
    }
  }

  async forget(over) {
    await this.room.server.request(this.url(over), { method: "DELETE" });
    if (this.room.other.id === `${DRAFT}${over}`) await this.room.other.choose("");
  }
}

function outcome(changed, headers) {
  if (changed === 0) return "All that this draft changed is in the newest mask already.";
  const done = `The draft was put on the newest mask: ${changed} voxels changed.`;
  if (headers.get("X-Base-Known") === "0") return `${done} The mask it was drawn over is gone, so all of it was taken: look where the two differ before you save.`;
  const also = Number(headers.get("X-Also-Changed"));
  return also === 0 ? `${done} Save it when it is right.` : `${done} In ${also} of them another reader had drawn another label: look at them before you save.`;
}
