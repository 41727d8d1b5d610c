"use strict";
// Sorting, the theme, and words at a pointer or under the arrow keys. Without it the page says the
// same: drawings have titles, and their figures are in tables.

const root = document.documentElement;

// The theme: as the system has it, light, dark.
{
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  let stored = null;
  try { stored = localStorage.getItem("pipe-report-theme"); } catch { /* not from a file */ }
  let theme = themes.includes(stored) ? stored : "auto";
  const apply = () => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = "Theme: " + theme;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("pipe-report-theme", theme); } catch { /* as above */ }
    apply();
  });
  apply();
}

// What a part of the page needs once it is there.
const enhance = (part) => {
  // Sorting: a button in each head, the rows by number where all are numbers.
  for (const table of part.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const first = [...body.rows];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const isNumber = head.classList.contains("number");
        const downFirst = isNumber;
        const order = before === null ? (downFirst ? "descending" : "ascending")
          : before === (downFirst ? "descending" : "ascending") ? (downFirst ? "ascending" : "descending")
          : null;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (order === null) { body.append(...first); return; }
        head.setAttribute("aria-sort", order);
        const key = (row) => {
          const cell = row.cells[column];
          return cell.dataset.sort ?? cell.textContent;
        };
        const sign = order === "ascending" ? 1 : -1;
        const rows = [...first].sort((one, two) => {
          const [a, b] = [key(one), key(two)];
          // What has no value is last either way.
          if (a === "" || b === "") return (a === "") - (b === "");
          const difference = isNumber ? Number(a) - Number(b)
            : a.localeCompare(b, undefined, { numeric: true });
          return sign * difference;
        });
        body.append(...rows);
      });
    });
  }

  // Words: the title of a mark, at once instead of after a while, and by keys.
  {
    const tip = document.getElementById("tip");
    let on = null;
    // By keys the words stay with their mark while the page scrolls; by a pointer they go.
    let follow = null;
    const hide = () => {
      on?.classList.remove("on");
      on = null;
      follow = null;
      tip.hidden = true;
    };
    const show = (mark, x, y) => {
      if (on !== mark) {
        on?.classList.remove("on");
        on = mark;
        mark.classList.add("on");
        tip.textContent = mark.dataset.tip;
        tip.hidden = false;
      }
      const box = tip.getBoundingClientRect();
      const left = Math.min(Math.max(8, x + 14), root.clientWidth - box.width - 8);
      const top = y - box.height - 12 < 8 ? y + 16 : y - box.height - 12;
      tip.style.left = left + "px";
      tip.style.top = top + "px";
    };
    const drawings = part.querySelectorAll("svg.drawing");
    for (const drawing of drawings) {
      const title = drawing.querySelector(":scope > title");
      drawing.setAttribute("aria-label", title.textContent);
      drawing.removeAttribute("aria-labelledby");
      title.remove();
      const marks = [...drawing.querySelectorAll(".tip")];
      for (const mark of marks) {
        const words = mark.querySelector(":scope > title");
        mark.dataset.tip = words.textContent;
        words.remove();
        mark.addEventListener("pointermove", (event) => {
          follow = null;
          show(mark, event.clientX, event.clientY);
        });
        mark.addEventListener("pointerleave", hide);
      }
      if (marks.length === 0) continue;
      drawing.tabIndex = 0;
      let at = -1;
      drawing.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Escape") hide();
        if (step === undefined) return;
        event.preventDefault();
        at = at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length;
        marks[at].scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
        follow = () => {
          const box = marks[at].getBoundingClientRect();
          show(marks[at], box.left + box.width / 2, Math.max(box.top, 40));
        };
        follow();
      });
      drawing.addEventListener("blur", hide);
    }
    if (drawings.length > 0) {
      addEventListener("scroll", () => (follow ?? hide)(), { passive: true, capture: true });
    }
  }

  // A run's row and its line light up together.
  for (const row of part.querySelectorAll("tr[data-row]")) {
    const lines = part.querySelectorAll(`.parallel [data-row="${row.dataset.row}"]`);
    const light = (is) => [row, ...lines].forEach((one) => one.classList.toggle("on", is));
    for (const one of [row, ...lines]) {
      one.addEventListener("pointerenter", () => light(true));
      one.addEventListener("pointerleave", () => light(false));
    }
  }
};

// Where one is, in the table of contents.
const followContents = () => {
  const links = new Map([...document.querySelectorAll(".contents a")]
    .map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main section")) seen.observe(section);
};

enhance(document);
followContents();

// On paper nothing can be unfolded.
{
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
}
