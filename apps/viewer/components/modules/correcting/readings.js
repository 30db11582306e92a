// Two readers of one study: who drew, how far they agree, and whose mask stands, said by somebody who drew neither.

import { button, element, replaceChildren } from "../page/dom.js";

export class ReadingsPanel {
  constructor(room) {
    this.room = room;
    this.compared = { of: "", pairs: [] };
  }

  // The section of a study that was read a second time; none of any other.
  open({ readings: told, labels }) {
    if (!told) return null;
    const readings = { ...told, may_decide: told.may_decide && this.room.mayCorrect };
    this.agreement = element("div", { class: "detail", "data-read": "readers" });
    this.labels = new Map(labels.map((label) => [label.name, words(label.name)]));
    this.compare(readings.readers);
    return element("section", { class: "readings" }, element("h2", { text: "Readings" }), ...readings.readers.map((one) => this.reading(one, readings)), this.agreement, element("p", { class: "quiet", text: standing(readings) }));
  }

  reading(one, { may_decide: mayDecide }) {
    const { room } = this;
    const about = [one.is_second ? "second reading" : "first reading", one.made, `${one.seconds} s drawn`, one.reason].filter(Boolean).join("  ·  ");
    const over = one.is_shown ? null : button("Lay over", `Lay the mask of ${one.reader} over this one`, () => room.other.choose(one.mask));
    const stand = mayDecide ? button("Let stand", `The mask of ${one.reader} stands`, () => this.decide(one), { "data-stands": one.reader }) : null;
    return element("div", { class: "reading" }, element("div", { class: "label-row" }, element("strong", { class: "name", text: one.reader }), one.is_shown ? element("span", { class: "badge", text: "shown" }) : null, over, stand), element("div", { class: "quiet", text: about }));
  }

  // The server compares the masks once; the page runs again far more often.
  async compare(readers) {
    const of = readers.map((one) => one.mask).join();
    const { room } = this;
    try {
      if (this.compared.of !== of) this.compared = { of, pairs: await room.server.json(`${room.study.base}/readings`) };
    } catch (error) {
      room.say(`The readings could not be compared: ${error.message}`);
    }
    if (this.compared.of === of) replaceChildren(this.agreement, ...this.compared.pairs.flatMap((pair) => this.pair(pair)));
  }

  pair({ readers, dice, kappa }) {
    const lines = Object.entries(dice).map(([name, value]) => [`Dice, ${this.labels.get(name) ?? name}`, value]);
    return [element("strong", { text: readers.join(" and ") }), ...[...lines, ["Cohen's kappa", kappa]].map(([name, value]) => element("div", {}, element("span", { text: name }), element("span", { class: "number", text: value === null ? "–" : value.toFixed(3) })))];
  }

  async decide({ reader, mask }) {
    const { room } = this;
    if (room.edit.isDirty) {
      room.say("Save or discard your correction first: then choose whose mask stands.");
      return;
    }
    const reason = room.panel.reason.value;
    try {
      await room.server.post(`${room.study.base}/adjudication`, { reader, mask: mask.split(":").pop(), reason });
      room.panel.reasonKept(reason);
      await room.other.choose("");
      room.page.trigger("saved", `adjudicated ${Date.now()}`);
    } catch (error) {
      room.say(error.message);
    }
  }
}

function standing({ readers, standing: mask, by, may_decide: mayDecide, is_open: isOpen }) {
  const winner = readers.find((one) => one.mask.endsWith(mask ?? "none"));
  if (!isOpen && winner) return `The mask of ${winner.reader} stands, by the word of ${by}.`;
  return mayDecide ? "You drew neither: say whose mask stands. It can be corrected further." : "Whose mask stands is said by somebody who drew neither.";
}

function words(name) {
  return name.replaceAll("_", " ");
}
