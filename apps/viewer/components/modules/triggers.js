// What the browser asks of the page. Streamlit runs the page once for each; a second request ends the run of the first,
// and what the first asked is lost. So nothing more is asked once the reader chose to leave.

const LEAVING = ["go", "open", "leave", "next"];

export class Triggers {
  constructor() {
    this.set = () => {};
    this.isLeaving = false;
  }

  // The page has run, and is still here.
  stayed(set) {
    this.set = set;
    this.isLeaving = false;
  }

  trigger(name, value) {
    if (this.isLeaving) return;
    this.isLeaving = LEAVING.includes(name);
    this.set(name, value);
  }
}
