"use strict";
for (const table of document.querySelectorAll("table.slides")) {
  const headings = Array.from(table.tHead.rows[0].cells);
  const key = (row, column) => {
    const text = row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return { text, number, empty: text === "" };
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = Array.from(table.tBodies[0].rows, (row) => ({ row, key: key(row, column) }));
      rows.sort((a, b) => {
        if (a.key.empty || b.key.empty) return a.key.empty - b.key.empty;
        const numbers = !Number.isNaN(a.key.number) && !Number.isNaN(b.key.number);
        const order = numbers ? a.key.number - b.key.number
          : a.key.text.localeCompare(b.key.text, undefined, { numeric: true });
        return descending ? -order : order;
      });
      table.tBodies[0].append(...rows.map(({ row }) => row));
    });
  });
}
