// What the pages around the reading room share: the bar with the other pages, the permits, a message, the theme.

import { element, renewChildren } from "../page/dom.js";
import { Server } from "../page/server.js";
import { Triggers } from "../page/triggers.js";

const RELEASED_AFTER_MS = 50;
const PAGES = [
  ["worklist", "Worklist"],
  ["jobs", "Jobs"],
  ["models", "Models"],
  ["dashboard", "Dashboard"],
  ["log", "Log"],
];

export class Page {
  constructor(parent, name) {
    this.name = name;
    this.server = new Server(() => this.trigger("renew", Date.now()));
    this.tools = element("div", { class: "page-tools" });
    this.nav = element("nav", { class: "pages", "aria-label": "Pages" });
    this.user = element("span", { class: "quiet" });
    this.main = element("main", { class: "list", tabindex: "-1" });
    this.message = element("div", { class: "message", role: "alert", hidden: true });
    this.host = element(
      "div",
      { class: "room list-page" },
      element("header", { class: "top" }, this.nav, this.tools, element("span", { class: "gap" }), this.user, element("strong", { class: "notice", text: "Not for diagnostic use" })),
      this.main,
      this.message,
    );
    this.host.page = this;
    this.host.classList.toggle("light", localStorage.getItem("medseg-theme") === "light");
    parent.append(this.host);
    this.onkey = (event) => {
      if (!event.defaultPrevented && !event.ctrlKey && !event.metaKey && !event.altKey) this.press(event);
    };
    window.addEventListener("keydown", this.onkey);
  }

  // What a run of the page says: permits, who sits here, and the page's own data.
  update(data) {
    this.server.take(data.permits);
    this.mayCorrect = data.may_correct;
    this.user.textContent = data.user;
    const shown = PAGES.filter(([name]) => name !== "log" || data.may_administer);
    renewChildren(
      this.nav,
      ...shown.map(([name, words]) =>
        element("button", { type: "button", class: "page-link", text: words, "aria-current": name === this.name ? "page" : null, onclick: () => this.go(name) }),
      ),
    );
    this.take(data);
  }

  trigger(name, value) {
    this.triggers.trigger(name, value);
  }

  // To another page; the page that is shown is only brought up to date, for whoever leaves asks nothing more for a while.
  go(name) {
    if (name === this.name) this.trigger("renew", Date.now());
    else this.trigger("go", name);
  }

  take() {}

  press() {}

  // Run it once nothing on the page is pressed: rows that move between press and release take the click away.
  whenReleased(run) {
    if (this.main.matches(":active")) setTimeout(() => this.whenReleased(run), RELEASED_AFTER_MS);
    else run();
  }

  // Say what went wrong where `run` fails; its result otherwise.
  async attempt(run) {
    this.say("");
    try {
      return await run();
    } catch (error) {
      this.say(error.message);
      return null;
    }
  }

  say(text) {
    this.message.hidden = text === "";
    this.message.textContent = text;
  }

  destroy() {
    window.removeEventListener("keydown", this.onkey);
    this.host.remove();
  }
}

// A mount function for Streamlit, which calls it again on every change of data or theme; the page stays.
export function mounter(PageClass) {
  const kept = new WeakMap();
  return (component, assets) => {
    const { parentElement, data } = component;
    let page = kept.get(parentElement);
    if (page === undefined) {
      parentElement.append(element("link", { rel: "stylesheet", href: `${assets}/style.css` }), element("link", { rel: "stylesheet", href: `${assets}/office/office.css` }));
      page = new PageClass(parentElement);
      page.triggers = new Triggers();
      kept.set(parentElement, page);
    }
    page.triggers.set = (name, value) => component.setTriggerValue(name, value);
    page.update(data);
    return () => {
      setTimeout(() => {
        if ((parentElement.host ?? parentElement).isConnected) return;
        page.destroy();
        kept.delete(parentElement);
      });
    };
  };
}
