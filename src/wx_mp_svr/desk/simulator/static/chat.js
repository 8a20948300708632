// The chat on the left: who said what, in the order in which it arrived.

import { $, h } from "./dom.js";
import { model, nameOf, sendText } from "./model.js";
import { avatar, file, image, link, music, news, place, video, voice } from "./cards.js";
import { stamp, webLink, words } from "./words.js";

const PAUSE = 5 * 60 * 1000; // WeChat writes the time after a pause
const nodes = new Map(); // key -> element, so that nothing is drawn, and announced, twice

export function showAccount() {
  $("#account").textContent = model.state.name;
}

export function showChat() {
  const items = [];
  for (const push of model.pushes.values()) {
    if (push.openid && push.openid !== model.openid) continue;
    if (push.copy_of) continue;
    items.push({ key: `${push.id} user`, at: push.at, make: () => userLine(push) });
    if (push.running || push.silent) continue;
    const failed = push.bot?.failed ? " failed" : "";
    const at = push.at + push.elapsed * push.scale * 1000;
    items.push({ key: `${push.id} bot${failed}`, at, make: () => marked(push, botLine(push)) });
  }
  items.sort((a, b) => a.at - b.at);
  arrange(withTimes(items));
}

function withTimes(items) {
  let last = 0;
  return items.flatMap((item) => {
    const pause = item.at - last > PAUSE;
    last = item.at;
    return pause ? [{ key: `${item.key} time`, make: () => h("p", { class: "time" }, stamp(item.at)) }, item] : [item];
  });
}

function arrange(items) {
  const log = $("#log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const wanted = new Set(items.map((item) => item.key));
  for (const [key, node] of nodes) {
    if (!wanted.has(key)) { node.remove(); nodes.delete(key); }
  }
  let added = false;
  items.forEach((item, index) => {
    if (!nodes.has(item.key)) {
      nodes.set(item.key, item.make() || h("span", { hidden: true }));
      added = true;
    }
    const node = nodes.get(item.key);
    if (log.children[index] !== node) log.insertBefore(node, log.children[index] || null);
  });
  if (added && (atEnd || items.length < 3)) log.scrollTop = log.scrollHeight;
}

// Numbers start anew when another talk is opened: what was drawn belongs to the old one.
export function forgetChat() {
  for (const node of nodes.values()) node.remove();
  nodes.clear();
}

const line = (who, push, content) =>
  h("div", { class: `line ${who}`, "data-id": push.id },
    avatar(who, who === "bot" ? "bot" : push.openid),
    h("span", { class: "sr" }, who === "bot" ? `${model.state.name}：` : "我："),
    content);

const system = (push, ...content) => h("p", { class: "system", "data-id": push.id }, ...content);

const bubble = (...content) => h("div", { class: "bubble" }, ...content);

const string = (value) => (typeof value === "string" ? value : "");

const USER = {
  text: (f) => bubble(...words(string(f.Content))),
  image: (f) => image(f.MediaId, f.PicUrl),
  voice: (f) => voice(f.MediaId, f.Recognition),
  video: (f) => video(f.MediaId),
  shortvideo: (f) => video(f.MediaId),
  location: (f) => place(f.Label, f.Location_X, f.Location_Y),
  link: (f) => link(f.Title, f.Description, f.Url),
  file: (f) => file(f.Title, f.FileTotalLen),
  miniprogrampage: (f) => link(f.Title, f.PagePath, "", "小程序"),
};

function userLine(push) {
  const make = USER[push.fields.MsgType];
  return make ? line("user", push, make(push.fields)) : system(push, ...eventWords(push));
}

function eventWords(push) {
  const key = string(push.fields.EventKey);
  switch (string(push.fields.Event).toLowerCase()) {
    case "subscribe": return [key ? `已扫码关注（${key}）` : "已关注"];
    case "unsubscribe": return ["已取消关注"];
    case "view": return ["打开网页 ", webLink(key, key)];
    case "click": return [`点击菜单（${key}）`];
    default: return [`${nameOf(push)}${key ? `（${key}）` : ""}`];
  }
}

function botLine(push) {
  const { type, content, parts, fields } = push.reply;
  const inner = (name) => (fields[name] && typeof fields[name] === "object" ? fields[name] : {});
  switch (type) {
    case "text": return line("bot", push, bubble(...(parts || [content]).flatMap(textPart)));
    case "image": return line("bot", push, image(inner("Image").MediaId));
    case "voice": return line("bot", push, voice(inner("Voice").MediaId));
    case "video": return line("bot", push, video(inner("Video").MediaId, inner("Video").Title));
    case "music": return line("bot", push, music(inner("Music")));
    case "news": return h("div", { class: "line whole", "data-id": push.id }, news([].concat(inner("Articles").item || [])));
    case "transfer_customer_service": return system(push, "已转接人工客服");
    case "fault": return system(push, content);
    default: return null;
  }
}

// A red mark on what a handler that failed has left to say; it leads to the traceback.
function marked(push, node) {
  if (!push.bot?.failed) return node;
  const title = "处理函数出错：点这里看原因";
  const mark = h("button", { type: "button", class: "failed-mark", "data-push": push.id, title, "aria-label": title }, "!");
  if (!node) return system(push, mark, " 处理函数出错，没有回复");
  node.append(mark);
  return node;
}

function textPart(part) {
  if (typeof part === "string") return words(part);
  if (part.words) {
    return [h("button", { type: "button", class: "words-link", onclick: () => sendText(part.words, part.menu_id) }, part.label)];
  }
  return [webLink(part.label, part.href)];
}
