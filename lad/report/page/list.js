// A list of any length of which only the rows that are seen exist. The browser's own scrolling, one height for all rows.
"use strict";

LAD.List = class {
  // box: scrolls. rows: in it. draw(place): the element of a row. chosen(place): one was chosen. entered(): the chosen
  // one was asked for again, by Enter or a double click.
  constructor(box, rows, height, draw, chosen, entered) {
    Object.assign(this, { box, rows, height, draw, chosen, entered, count: 0, active: -1, drawn: new Map() });
    box.addEventListener("scroll", () => this.show(), { passive: true });
    new ResizeObserver(() => this.show()).observe(box);
    box.addEventListener("keydown", (event) => this.key(event));
    box.addEventListener("dblclick", entered);
    box.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) this.choose(Number(row.dataset.place));
    });
  }

  // Start over with so many rows.
  fill(count, active = -1) {
    this.count = count;
    this.active = active;
    this.rows.style.height = `${count * this.height}px`;
    this.rows.replaceChildren();
    this.drawn.clear();
    if (active >= 0) this.reveal(active);
    this.show();
  }

  show() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - 4);
    const last = Math.min(this.count, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + 4);
    for (const [place, row] of this.drawn) {
      if (place < first || place >= last) {
        row.remove();
        this.drawn.delete(place);
      }
    }
    for (let place = first; place < last; place += 1) {
      if (this.drawn.has(place)) continue;
      const row = this.draw(place);
      row.id = `row-${place}`;
      row.dataset.place = place;
      row.setAttribute("role", "option");
      row.setAttribute("aria-setsize", this.count);
      row.setAttribute("aria-posinset", place + 1);
      row.style.transform = `translateY(${place * this.height}px)`;
      this.drawn.set(place, row);
      this.rows.append(row);
    }
    for (const [place, row] of this.drawn) row.setAttribute("aria-selected", place === this.active);
    if (this.drawn.has(this.active)) this.box.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  reveal(place) {
    const top = place * this.height, below = top + this.height - this.box.clientHeight;
    if (this.box.scrollTop > top) this.box.scrollTop = top;
    else if (this.box.scrollTop < below) this.box.scrollTop = below;
  }

  choose(place) {
    if (!this.count) return;
    this.active = Math.max(0, Math.min(place, this.count - 1));
    this.reveal(this.active);
    this.show();
    this.chosen(this.active);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.active >= 0) this.entered();
    if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.choose(this.active + steps[event.key]);
  }
};
