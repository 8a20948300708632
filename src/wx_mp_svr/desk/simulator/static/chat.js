// The chat on the left: who said what, in the order in which it arrived.

import { $, h } from "./dom.js";
import { model, nameOf, sendText } from "./model.js";
import { avatar, file, image, link, music, news, place, video, voice } from "./cards.js";
import { stamp, webLink, words } from "./words.js";

const PAUSE = 5 * 60 * 1000; // WeChat writes the time after a pause

// What stands in the chat, in the order of time, and the same by push. Only what has changed is touched.
const order = [];
const items = new Map();

export function showAccount() {
  $("#account").textContent = model.state.name;
}

// `changed`: the pushes to look at again, by number; without it all of them.
export function showChat(changed) {
  const log = $("#log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  if (!changed) forgetChat();
  const before = order.length;
  for (const id of changed || model.pushes.keys()) arrange(log, id);
  if (order.length > before && (atEnd || order.length < 3)) log.scrollTop = log.scrollHeight;
}

// Numbers start anew when another talk is opened, and a user sees no other's talk.
function forgetChat() {
  order.length = 0;
  items.clear();
  $("#log").replaceChildren();
}

function arrange(log, id) {
  const wanted = new Map(itemsOf(model.pushes.get(id)).map((item) => [item.key, item]));
  const now = [];
  for (const item of items.get(id) || []) {
    if (wanted.delete(item.key)) now.push(item); else remove(item);
  }
  for (const item of wanted.values()) {
    insert(log, item);
    now.push(item);
  }
  if (now.length) items.set(id, now); else items.delete(id);
}

function itemsOf(push) {
  if (!push || push.copy_of || (push.openid && push.openid !== model.openid)) return [];
  const user = { key: "user", at: push.at, make: () => userLine(push) };
  if (push.running || push.silent) return [user];
  const at = push.at + push.elapsed * push.scale * 1000;
  return [user, { key: push.bot?.failed ? "failed" : "bot", at, make: () => marked(push, botLine(push)) }];
}

function insert(log, item) {
  let index = order.length; // most often it is the newest
  while (index > 0 && order[index - 1].at > item.at) index -= 1;
  item.node = item.make() || h("span", { hidden: true });
  order.splice(index, 0, item);
  const next = order[index + 1];
  log.insertBefore(item.node, next ? next.time || next.node : null);
  date(index);
  date(index + 1);
}

function remove(item) {
  const index = order.indexOf(item);
  order.splice(index, 1);
  item.node.remove();
  item.time?.remove();
  date(index);
}

// The time stands above what comes after a pause.
function date(index) {
  const item = order[index];
  if (!item) return;
  const pause = item.at - (order[index - 1]?.at ?? 0) > PAUSE;
  if (pause && !item.time) item.node.before(item.time = h("p", { class: "time" }, stamp(item.at)));
  else if (!pause && item.time) {
    item.time.remove();
    item.time = null;
  }
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
