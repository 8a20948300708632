// The chat on the left: who said what, in the order in which it arrived.

import { $, button, h } from "./dom.js";
import { model, nameOf, sendText } from "./model.js";
import { avatar, file, image, link, music, news, place, video, voice } from "./cards.js";
import { stamp, webLink, words } from "./words.js";

const PAUSE = 5 * 60 * 1000; // WeChat writes the time after a pause

// What stands in the chat, in the order of time, and the same by push. Only what has changed is touched.
const order = [];
const items = new Map();

let chosen = []; // the lines of the push that the inspector shows
let tools; // for the line under the pointer or the focus: one for all of them

// `inspect`: shows what became of a push. `edit`: puts a message back where it can be changed.
export function startChat(inspect, edit) {
  const log = $("#log");
  const numberOf = (node) => Number(node.closest("[data-id]")?.dataset.id);
  tools = h("span", { class: "tools", "aria-live": "off" },
    button("改", (event) => edit(model.pushes.get(numberOf(event.target))), { title: "改一改再发", "aria-label": "改一改再发" }),
    button("查", (event) => inspect(numberOf(event.target)), { title: "在检查器里看", "aria-label": "在检查器里看" }));
  for (const name of ["pointerover", "focusin"]) log.addEventListener(name, (event) => hold(event.target.closest("[data-id]")));
  log.addEventListener("pointerleave", () => { if (!tools.contains(document.activeElement)) tools.remove(); });
  log.addEventListener("click", (event) => {
    if (getSelection().isCollapsed && !event.target.closest("a, .tools, .words-link")) inspect(numberOf(event.target));
  });
  log.addEventListener("keydown", walk);
}

function hold(line) {
  if (!line || tools.parentNode === line) return;
  tools.firstChild.hidden = line.classList.contains("bot");
  line.append(tools);
}

// Up and down lead from line to line, Enter to the inspector.
function walk(event) {
  const lines = [...$("#log").querySelectorAll("[data-id]")];
  const now = lines.indexOf(event.target);
  if (event.key === "Enter" && now >= 0) event.target.click();
  const next = { ArrowUp: now < 0 ? lines.length - 1 : now - 1, ArrowDown: now + 1 }[event.key];
  if (next === undefined || !lines[next] || event.target.closest("button, a")) return;
  event.preventDefault();
  lines[next].tabIndex = -1;
  lines[next].focus();
}

// Mark what belongs to the push that the user has chosen, and bring it into view; without a number there is none.
export function showChosen(id) {
  for (const node of chosen) node.classList.remove("chosen");
  chosen = (items.get(id) || []).map((item) => item.node);
  for (const node of chosen) node.classList.add("chosen");
  chosen.at(-1)?.scrollIntoView({ block: "nearest" });
}

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
  if (!changed && order.length) settle(log, 4);
  else if (order.length > before && (atEnd || order.length < 3)) scrollToEnd(log);
}

// What was never seen has no height yet: the last line first, then what is below it.
function scrollToEnd(log) {
  order.at(-1)?.node.scrollIntoView({ block: "end" });
  log.scrollTop = log.scrollHeight;
}

// After all was drawn anew: heights become known while one comes near, for a few frames.
function settle(log, frames) {
  scrollToEnd(log);
  if (frames) requestAnimationFrame(() => settle(log, frames - 1));
}

// Numbers start anew when another talk is opened, and a user sees no other's talk.
function forgetChat() {
  order.length = 0;
  items.clear();
  $("#log").replaceChildren($("#log .earlier"));
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
  if (!push || push.id < model.from || (push.openid && push.openid !== model.openid)) return [];
  const user = { key: "user", at: push.at, make: () => (push.copy_of || push.repeat_of ? repeatLine(push) : userLine(push)) };
  if (push.copy_of || push.silent) return [user];
  if (model.held.has(push.id)) return [user];
  if (push.running) return [user, { key: "dots", at: push.at, make: () => dots(push) }];
  const at = push.at + push.elapsed * push.scale * 1000;
  return [user, { key: push.bot?.failed ? "failed" : "bot", at, make: () => marked(push, botLine(push)) }];
}

function insert(log, item) {
  let index = order.length; // most often it is the newest
  while (index > 0 && order[index - 1].at > item.at) index -= 1;
  item.node = item.make();
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

// What a user of WeChat does not see, and the developer should.
const repeatLine = (push) => system(push, push.copy_of ? `同一次推送 #${push.copy_of} 又送达一份` : `消息 #${push.repeat_of} 又推送了一次（MsgId 相同）`);

const quiet = (push) => system(push, "机器人没有回复（success）");

const dots = (push) => h("div", { class: "line dots", "data-id": push.id, "aria-hidden": "true" },
  avatar("bot", "bot"), h("span", { class: "waiting" }, h("i"), h("i"), h("i")));

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
  if (make) return line("user", push, make(push.fields));
  return system(push, ...eventWords(push), push.silent ? h("small", null, "用户看不到回复") : null);
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
    default: return null; // nothing, or nothing that WeChat knows
  }
}

// A red mark on what a handler that failed has left to say; it leads to the traceback.
function marked(push, node) {
  if (!push.bot?.failed) return node || quiet(push);
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
