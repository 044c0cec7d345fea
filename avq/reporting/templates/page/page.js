// Tables sort by a click (or Enter) on a column's head: by number where cells begin with one, empty cells last.
const scale = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const number = (text) => {
  const found = text.trim().replace("−", "-").match(/^[<+]?(-?[\d.]+)(?:\s?([kMGT])\b)?/);
  return found ? parseFloat(found[1]) * (scale[found[2]] || 1) : NaN;
};
const compare = (a, b, down) => {
  const empty = (text) => text === "" || text === "-";
  if (empty(a) || empty(b)) return empty(a) - empty(b);
  const [x, y] = [number(a), number(b)];
  const order = isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y;
  return down ? -order : order;
};
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("thead th")];
  heads.forEach((head, column) => {
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const text = (row) => row.cells[column].textContent.trim();
      body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), down)));
    };
    head.tabIndex = 0;
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
}
