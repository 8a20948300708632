// The foot of the chat: input, emoji, the "+" panel, and the account's menu.

import { $, button, h, icon, openDialog, toast } from "./dom.js";
import { configure, kindOf, model, send, sendEvent, sendText } from "./model.js";
import { openForm } from "./forms.js";
import { isConnected, sayDead } from "./net.js";
import { shrink } from "./picture.js";

const EMOJI = [..."😁😂🤣😊😍😘😜🤔😅😭😡😱🥱😴🤝👍👏🙏💪👌✌👀🎉🎁🌹💔💯🔥⭐🌞🌙🍉🍻☕🐶🐱🐼🚀🇨🇳".matchAll(/\p{RI}\p{RI}|\p{Emoji}/gu)].map(String);

const ICONS = {
  menu: ["M4 7h16M4 12h16M4 17h10"],
  keyboard: ["M3 6h18v12H3zM6.500 9.500h.1M10 9.500h.1M14 9.500h.1M17.500 9.500h.1M8 14.500h8"],
  voice: ["M12 2.500a9.500 9.500 0 1 0 0 19 9.500 9.500 0 0 0 0-19z", "M9 10.300a2.600 2.600 0 0 1 0 3.400M11.700 8.400a5.400 5.400 0 0 1 0 7.200M14.300 6.500a8.200 8.200 0 0 1 0 11"],
  smile: ["M12 2.500a9.500 9.500 0 1 0 0 19 9.500 9.500 0 0 0 0-19z", "M8.600 9.300v.4M15.400 9.300v.4M7.500 13.800c2 4 7 4 9 0"],
  plus: ["M12 2.500a9.500 9.500 0 1 0 0 19 9.500 9.500 0 0 0 0-19z", "M12 7v10M7 12h10"],
  image: ["M4 5h16v14H4z", "m4 16 5-5 4 4 3-3 4 4", "M15.500 8.500h.1"],
  video: ["M3 6.500h12v11H3z", "m15 10.500 6-3v9l-6-3z"],
  place: ["M12 21c-4.500-5.500-7-8.500-7-12a7 7 0 0 1 14 0c0 3.500-2.500 6.500-7 12z", "M12 6.800a2.300 2.300 0 1 0 0 4.600 2.300 2.300 0 0 0 0-4.600z"],
  link: ["M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.600-5.600l-1.200 1.200", "M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.600 5.600l1.200-1.200"],
  follow: ["M12 20s-8-4.800-8-10.600A4.400 4.400 0 0 1 12 7a4.400 4.400 0 0 1 8 2.400C20 15.200 12 20 12 20z"],
  leave: ["M10 4H4v16h6", "M9.500 12H21M17 8l4 4-4 4"],
  scan: ["M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5", "M4 12h16"],
  xml: ["m8 7-5 5 5 5M16 7l5 5-5 5M13.500 5l-3 14"],
  more: ["M5 5h5v5H5zM14 5h5v5h-5zM5 14h5v5H5zM14 14h5v5h-5z"],
};

const TILES = [
  ["图片", "image", () => openForm(kindOf("image"))],
  ["语音", "voice", () => openForm(kindOf("voice"))],
  ["视频", "video", () => openForm(kindOf("video"))],
  ["位置", "place", () => openForm(kindOf("location"))],
  ["链接", "link", () => openForm(kindOf("link"))],
  ["小视频", "video", () => openForm(kindOf("shortvideo"))],
  ["扫码", "scan", () => openForm(kindOf("event", "SCAN"))],
  ["关注", "follow", () => sendEvent("subscribe", { EventKey: "" })],
  ["取消关注", "leave", () => sendEvent("unsubscribe", { EventKey: "" })],
  ["菜单事件", "menu", () => openForm(kindOf("event", "CLICK"))],
  ["全部种类", "more", () => openForm()],
  ["自定义 XML", "xml", () => openForm(null, null, "")],
];

// What somebody may try first.
const SUGGESTIONS = [
  ["你好", () => sendText("你好")],
  ["帮助", () => sendText("帮助")],
  ["发一张图片", () => { const { msg_type: type, elements } = kindOf("image"); return send({ msg_type: type, elements }); }],
];

let recalled = 0; // how many messages back the input shows; 0 for one's own words
let input;
let plusOrSend;
let panels;

export function startComposer() {
  input = h("textarea", { id: "input", rows: 1, "aria-label": "输入消息，回车发送，Shift+回车换行", oninput: typedSomething, onkeydown: typed, onpaste: pasted });
  plusOrSend = h("span", { class: "last" });
  panels = h("div", { id: "panels" });
  const left = tool("menu", "切换到菜单", () => showBar("menu"));
  $("#composer").append(
    h("div", { id: "suggestions", role: "group", "aria-label": "可以试试", hidden: true },
      ...SUGGESTIONS.map(([words, act]) => button(words, () => { act(); input.focus(); }))),
    h("div", { id: "bar" },
      left, tool("voice", "发送语音", () => openForm(kindOf("voice"))), input,
      tool("smile", "表情", () => toggle("emoji"), { "aria-expanded": "false", "data-panel": "emoji" }), plusOrSend),
    h("div", { id: "menu", hidden: true }), panels);
  $("#more").addEventListener("click", openAccount);
  $("#more").append(icon("M5 12h.1M12 12h.1M19 12h.1"));
  $("#composer").addEventListener("keydown", (event) => {
    const opener = event.key === "Escape" && $(`[data-panel="${panels.dataset.shown}"]`);
    if (!opener) return;
    toggle("");
    opener.focus();
  });
  grow();
  input.focus();
}

const isOwn = (push) => push.openid === model.openid && !push.copy_of && !push.repeat_of && push.fields.MsgType !== "event";

// As long as this user has said nothing.
export function showSuggestions() {
  $("#suggestions").hidden = [...model.pushes.values()].some(isOwn);
}

// Put a message back where it can be changed, and sent again.
export function editAgain(push) {
  const { MsgType: type, Event: event, ToUserName, FromUserName, CreateTime, MsgId, ...elements } = push.fields;
  const kind = typeof type === "string" && kindOf(type, typeof event === "string" ? event : "");
  if (!kind) openForm(null, null, push.xml);
  else if (type !== "text") openForm(kind, elements);
  else {
    if ($("#bar").hidden) showBar("input");
    show(String(elements.Content || ""));
  }
}

function show(words) {
  input.value = words;
  grow();
  input.focus();
  input.setSelectionRange(words.length, words.length);
}

const tool = (name, label, onclick, props) =>
  h("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick, ...props }, icon(...ICONS[name]));

function typedSomething() {
  recalled = 0;
  grow();
  if (!isConnected()) sayDead();
}

// Up and down go through what this user has sent, as in a terminal, as long as nothing else is being written.
function recall(step) {
  if (input.value && !recalled) return false;
  const said = [...model.pushes.values()].filter((push) => isOwn(push) && push.fields.MsgType === "text" && !push.fields.bizmsgmenuid);
  const next = Math.max(0, Math.min(said.length, recalled + step));
  if (next === recalled) return false;
  recalled = next;
  show(next ? String(said.at(-next).fields.Content) : "");
  return true;
}

async function pasted(event) {
  const picture = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (!picture) return;
  event.preventDefault();
  const url = await shrink(picture).catch(() => "");
  if (!url) {
    toast("这不是能显示的图片");
    return;
  }
  await send({ msg_type: "image", elements: { PicUrl: url, MediaId: "pasted_picture" } });
}

function typed(event) {
  const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (step && !event.isComposing && recall(step)) event.preventDefault();
  // While an input method composes, Enter chooses its candidate.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  sendInput();
}

async function sendInput() {
  const content = input.value;
  if (!content.trim()) return;
  input.value = "";
  recalled = 0;
  grow();
  try {
    await sendText(content);
  } catch (error) {
    input.value = content;
    grow();
  }
  input.focus();
}

function grow() {
  const full = input.value.trim() !== "";
  if (plusOrSend.dataset.full !== String(full)) {
    plusOrSend.dataset.full = String(full);
    plusOrSend.replaceChildren(full
      ? button("发送", sendInput, { id: "send", class: "primary" })
      : tool("plus", "更多消息与事件", () => toggle("plus"), { id: "plus", "aria-expanded": "false", "data-panel": "plus" }));
  }
  input.style.height = "auto";
  input.style.height = `${Math.min(input.scrollHeight, 120)}px`;
}

// Open the panel of that name, or close it.
function toggle(name) {
  const shown = panels.dataset.shown === name ? "" : name;
  panels.dataset.shown = shown;
  panels.replaceChildren(...(shown === "emoji" ? [emojiPanel()] : shown === "plus" ? [plusPanel()] : []));
  for (const opener of document.querySelectorAll("[data-panel]")) {
    opener.setAttribute("aria-expanded", String(opener.dataset.panel === shown));
  }
  $("#log").scrollTop = $("#log").scrollHeight;
}

function emojiPanel() {
  const insert = (emoji) => () => {
    input.setRangeText(emoji, input.selectionStart, input.selectionEnd, "end");
    grow();
  };
  return h("div", { class: "emoji", role: "group", "aria-label": "表情" },
    ...EMOJI.map((emoji) => button(emoji, insert(emoji), { "aria-label": `表情 ${emoji}` })));
}

function plusPanel() {
  const act = (action) => () => {
    toggle("");
    ($("#plus") || input).focus(); // where the focus returns to from a form
    action();
  };
  return h("div", { class: "tiles", role: "group", "aria-label": "更多消息与事件" },
    ...TILES.map(([label, name, action]) =>
      h("button", { type: "button", onclick: act(action) }, h("span", { class: "tile" }, icon(...ICONS[name])), label)));
}

// -- the account's menu ----------------------------------------------------------------------------------------------

function showBar(name) {
  toggle("");
  $("#bar").hidden = name !== "input";
  $("#menu").hidden = name === "input";
  (name === "input" ? input : $("#menu button")).focus();
}

export function showMenu() {
  const buttons = model.state.menu.button.map((entry) => {
    const below = Array.isArray(entry.sub_button) ? entry.sub_button : [];
    if (!below.length) return h("div", { class: "entry" }, button(entry.name, () => press(entry)));
    const sub = h("div", { class: "sub", hidden: true }, ...below.map((leaf) => button(leaf.name, () => { sub.hidden = true; press(leaf); })));
    const opener = h("button", {
      type: "button", "aria-haspopup": "true",
      onclick: () => { sub.hidden = !sub.hidden; if (!sub.hidden) sub.firstChild.focus(); },
    }, h("i", { "aria-hidden": "true" }, "≡"), entry.name);
    return h("div", { class: "entry", onkeydown: (event) => { if (event.key === "Escape") { sub.hidden = true; opener.focus(); } } }, opener, sub);
  });
  $("#menu").replaceChildren(tool("keyboard", "切换到键盘", () => showBar("input")), ...buttons);
}

function press(entry) {
  const key = String(entry.key || "");
  switch (entry.type) {
    case "click": return sendEvent("CLICK", { EventKey: key });
    case "view": return sendEvent("VIEW", { EventKey: String(entry.url || ""), MenuId: 1 });
    case "miniprogram": return sendEvent("view_miniprogram", { EventKey: String(entry.pagepath || ""), MenuId: 1 });
    default: {
      const kind = kindOf("event", entry.type);
      return kind ? openForm(kind, { EventKey: key }) : undefined; // article and media buttons push nothing
    }
  }
}

function openAccount() {
  const { name, appid, target, token, aes_key: aesKey, menu } = model.state;
  const box = h("textarea", { id: "menu-json", rows: 12, spellcheck: "false", value: JSON.stringify(menu, null, 2) });
  const rows = [["名称", name], ["服务器", target], ["AppID", appid || "（没有）"], ["Token", token], ["EncodingAESKey", aesKey || "（没有）"]];
  openDialog("公众号", (close) => h("form", {
    method: "dialog",
    onsubmit: async (event) => {
      event.preventDefault();
      let wanted;
      try {
        wanted = JSON.parse(box.value);
      } catch (error) {
        toast(`不是 JSON：${error.message}`);
        return;
      }
      await configure({ menu: wanted });
      close();
    },
  },
  h("dl", null, ...rows.flatMap(([label, value]) => [h("dt", null, label), h("dd", null, value)])),
  h("label", { class: "field tall" }, h("span", null, "菜单（与创建菜单接口的 JSON 相同）"), box),
  h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "保存菜单"))));
}
