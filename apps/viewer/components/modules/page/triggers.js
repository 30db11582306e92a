// What the browser asks of the page. Streamlit runs the page once for each; a second request ends the run of the first,
// and what the first asked is lost. So for a while nothing more is asked once the reader chose to leave.

const LEAVING = ["go", "open", "leave", "next"];
const LEAVING_MS = 5000;

export class Triggers {
  constructor() {
    this.set = () => {};
    this.leftAt = -Infinity;
  }

  trigger(name, value) {
    if (performance.now() - this.leftAt < LEAVING_MS) return;
    if (LEAVING.includes(name)) this.leftAt = performance.now();
    this.set(name, value);
  }

  // The reader is where they chose to go: what they ask from now on is meant for there.
  arrived() {
    this.leftAt = -Infinity;
  }
}
