// Tables: rows that can be reached with j and k and opened with Enter.
import { html } from "./lib.js";

/**
 * `columns`: `{ name, cell(row), num, className }`. `onOpen(row)` makes rows open. `empty` stands where there are none.
 * `fresh(row)` marks rows that have just come. On a narrow screen a row is a card: its first cell the title, the others with their names.
 */
export function Table({ columns, rows, id, onOpen, empty, label, fresh }) {
  if (rows.length === 0 && empty) return empty;
  const onKey = (event, row) => {
    if (event.target !== event.currentTarget || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    onOpen(row);
  };
  const opens = (row) =>
    onOpen && {
      tabindex: 0,
      onClick: (event) => !event.target.closest("a, button, input, select") && onOpen(row),
      onKeyDown: (event) => onKey(event, row),
    };
  return html`<div class="table-wrap"><table class="stacks" role="table" aria-label=${label}>
    <thead role="rowgroup"><tr role="row">${columns.map((column) => html`<th scope="col" role="columnheader" class=${column.num ? "num" : ""}>${column.name || html`<span class="sr">Actions</span>`}</th>`)}</tr></thead>
    <tbody role="rowgroup">${rows.map((row) => html`<tr key=${id(row)} role="row" class="${onOpen ? "open-able" : ""} ${fresh?.(row) ? "new" : ""}" ...${opens(row)}>
      ${columns.map((column) => html`<td role="cell" data-name=${column.name} class="${column.num ? "num" : ""} ${column.className ?? ""}">${column.cell(row)}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}
