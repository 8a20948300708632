// What the page knows: settings, pushes, the table of kinds, and who is chatting.

import { post } from "./net.js";

// `held`: the numbers of pushes that have just begun. `from`: the first that is drawn; those before it when they are asked for.
export const model = { state: null, pushes: new Map(), held: new Set(), from: 0, kinds: [], openid: "", selected: null };

export const send = (spec) => post("push", { openid: model.openid, ...spec });

export const sendText = (content, bizmsgmenuid) =>
  send({ msg_type: "text", elements: { Content: content, ...(bizmsgmenuid ? { bizmsgmenuid } : {}) } });

export const sendEvent = (event, elements) => send({ msg_type: "event", event, elements: elements || {} });

export const configure = (changes) => post("state", changes);

export const kindOf = (msgType, event) =>
  model.kinds.find((kind) => kind.msg_type === msgType && kind.event.toLowerCase() === (event || "").toLowerCase());

export function nameOf(push) {
  const { MsgType: type, Event: event, InfoType: info } = push.fields;
  const kind = typeof type === "string" && kindOf(type, typeof event === "string" ? event : "");
  if (kind) return kind.label;
  return String(event || type || info || "自定义 XML");
}

// A number from a text, the same each time: for colours and lengths that nobody told us.
export function hash(text) {
  let value = 7;
  for (const char of String(text)) value = (value * 31 + char.codePointAt(0)) % 1000003;
  return value;
}
