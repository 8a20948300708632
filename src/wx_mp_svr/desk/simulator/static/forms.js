// The dialog that sends any message or event: a form made from the table of kinds, or the XML itself.

import { button, h, openDialog } from "./dom.js";
import { labelOf } from "./labels.js";
import { post } from "./net.js";
import { model, send } from "./model.js";

// `xml`: to be edited itself; "" for that of the kind.
export function openForm(kind, preset, xml) {
  let form;
  openDialog("发送消息或事件", (close) => {
    form = new Form(kind, preset || {}, close);
    return form.node;
  });
  if (xml !== undefined) form.toggleXml(xml);
}

class Form {
  constructor(given, preset, close) {
    const kind = given || model.kinds[0];
    this.close = close;
    this.fields = h("div", { class: "fields" });
    this.hint = h("p", { class: "hint" });
    this.picker = h("select", { id: "kind", "aria-label": "种类", autofocus: !given, onchange: () => this.show(model.kinds[this.picker.value]) },
      ...groups());
    this.asXml = button("编辑 XML", () => this.toggleXml());
    this.node = h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); this.submit(1); } },
      h("label", { class: "field" }, h("span", null, "种类"), this.picker), this.hint, this.fields,
      h("div", { class: "actions" }, this.asXml, button("连发 10 条", () => this.submit(10)),
        h("button", { type: "submit", class: "primary" }, "发送")));
    this.picker.value = String(model.kinds.indexOf(kind));
    this.show(kind, preset);
  }

  show(kind, preset) {
    this.kind = kind;
    this.xml = null;
    this.asXml.textContent = "编辑 XML";
    this.elements = structuredClone({ ...kind.elements, ...(preset || {}) });
    this.hint.textContent = { yes: "", no: "这种推送没有会话，用户看不到回复", "?": "文档没有说明能否回复" }[kind.answerable];
    this.draw();
  }

  draw() {
    this.fields.replaceChildren(...inputs(this.elements, () => this.draw()));
    if (!this.fields.firstChild) this.fields.append(h("p", { class: "hint" }, "没有自己的元素"));
  }

  spec() {
    if (this.xml) return { xml: this.xml.value };
    return { msg_type: this.kind.msg_type, event: this.kind.event, elements: this.elements };
  }

  async toggleXml(given) {
    if (this.xml) {
      this.show(this.kind, this.elements);
      return;
    }
    const xml = given || (await post("build", { openid: model.openid, ...this.spec() })).xml;
    this.xml = h("textarea", { id: "xml", rows: 14, spellcheck: "false", "aria-label": "XML，Ctrl+回车发送", onkeydown: (event) => { if (event.ctrlKey) sendOnEnter(event); }, value: xml });
    this.fields.replaceChildren(this.xml);
    this.asXml.textContent = "回到表单";
  }

  async submit(count) {
    await send({ ...this.spec(), count });
    this.close();
  }
}

function groups() {
  const names = [...new Set(model.kinds.map((kind) => kind.group))];
  return names.map((name) => h("optgroup", { label: name }, ...model.kinds.flatMap((kind, index) =>
    (kind.group === name ? [h("option", { value: String(index) }, optionText(kind))] : []))));
}

const optionText = (kind) => (kind.event ? `${kind.label}　${kind.event}` : kind.label);

// In a text of several lines, too.
function sendOnEnter(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  event.target.form.requestSubmit();
}

// Inputs for a dict of elements; what is typed goes straight into it.
function inputs(elements, redraw) {
  return Object.entries(elements).map(([name, value]) => {
    if (Array.isArray(value)) return list(elements, name, redraw);
    if (value && typeof value === "object") {
      return h("fieldset", null, h("legend", null, ...named(name)), ...inputs(value, redraw));
    }
    return field(elements, name);
  });
}

function field(holder, name) {
  const number = typeof holder[name] === "number";
  const oninput = (event) => {
    const typed = event.target.value;
    holder[name] = number && /^-?\d{1,15}$/.test(typed) ? Number(typed) : typed;
  };
  const box = name === "Content"
    ? h("textarea", { name, rows: 3, oninput, onkeydown: sendOnEnter, value: holder[name] })
    : h("input", { name, autocomplete: "off", oninput, value: String(holder[name]) });
  return h("label", { class: "field" }, h("span", null, ...named(name)), box);
}

// In Chinese, and WeChat's name behind it.
function named(name) {
  if (/^\d+$/.test(name)) return [`第 ${Number(name) + 1} 项`];
  const label = labelOf(name);
  return label === name ? [name] : [label, " ", h("code", null, name)];
}

function list(elements, name, redraw) {
  const items = elements[name];
  const more = () => { items.push(structuredClone(items[items.length - 1] ?? "")); redraw(); };
  const less = () => { items.pop(); redraw(); };
  return h("fieldset", null, h("legend", null, ...named(name)),
    ...items.map((item, index) => (item && typeof item === "object"
      ? h("fieldset", null, h("legend", null, `第 ${index + 1} 项`), ...inputs(item, redraw))
      : field(items, String(index)))),
    h("div", { class: "actions" }, button("加一项", more), items.length ? button("减一项", less) : null));
}
