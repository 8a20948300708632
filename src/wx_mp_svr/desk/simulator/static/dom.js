// Elements without innerHTML: whatever a bot or a user wrote becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (selector) => document.querySelector(selector);

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

// An icon of 24 x 24 whose strokes take the colour of the text.
export const icon = (...paths) =>
  svg("svg", { viewBox: "0 0 24 24", class: "line-icon", "aria-hidden": "true" },
    ...paths.map((d) => svg("path", { d })));

export const button = (label, onclick, props) => h("button", { type: "button", onclick, ...props }, label);

let toastTimer = 0;

export function toast(text) {
  const node = $("#toast");
  node.textContent = text;
  node.hidden = false;
  node.hidePopover?.();
  node.showPopover?.(); // above an open dialog, where the browser can
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 3000);
}

// Show a dialog; `make` gets a function that closes it and returns what stands in it.
export function openDialog(title, make) {
  const dialog = $("#dialog");
  const opener = document.activeElement;
  const close = () => dialog.close();
  dialog.replaceChildren(
    h("header", null, h("h2", { id: "dialog-title" }, title), button("×", close, { class: "close", "aria-label": "关闭" })),
    make(close));
  dialog.onclose = () => { dialog.replaceChildren(); if (opener && opener.isConnected) opener.focus(); };
  dialog.onclick = (event) => { if (event.target === dialog) close(); };
  if (!dialog.open) dialog.showModal();
  const first = dialog.querySelector("[autofocus]") || dialog.querySelector(".fields :is(input, textarea)") || dialog.querySelector("input, textarea, select");
  if (!first) return;
  first.focus();
  if (first.tagName === "TEXTAREA") first.setSelectionRange(0, 0);
}

export function confirm(title, question, word, act) {
  openDialog(title, (close) => h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); close(); act(); } },
    h("p", null, question),
    h("div", { class: "actions" }, button("取消", close), h("button", { type: "submit", class: "primary danger", autofocus: true }, word))));
}

// Let a popup close when the user clicks elsewhere, or presses Escape in it; then the focus returns to what opened it.
export function closeOutside(details) {
  const outside = (event) => { if (!details.contains(event.target)) details.open = false; };
  const watch = () => document[details.open ? "addEventListener" : "removeEventListener"]("pointerdown", outside);
  details.addEventListener("toggle", watch);
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    details.open = false;
    details.firstChild.focus();
  });
}
