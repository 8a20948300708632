// The inspector on the right: settings, one row per push with its tries as segments, and what became of the chosen one.

import { $, button, closeOutside, confirm, h, icon, openDialog, toast } from "./dom.js";
import { get, post } from "./net.js";
import { configure, model, nameOf } from "./model.js";
import { showChat, showChosen } from "./chat.js";
import { clock, LEVELS, OUTCOMES, prettyXml, seconds, VERDICTS } from "./words.js";

const SPAN = 15; // seconds on the time line
const MODES = { plain: "明文模式", compatible: "兼容模式", safe: "安全模式" };
const SPEEDS = [1, 0.2, 0.05];

let edit; // puts a message back where it can be changed

export function startInspector(onEdit) {
  edit = onEdit;
  $("#axis").append(h("div", { class: "ticks" }, ...[0, 5, 10, 15].map((at) =>
    h("span", { style: { left: `${(at / SPAN) * 100}%` } }, `${at} 秒`))));
  $("#timeline").addEventListener("keydown", move);
  $("#timeline").addEventListener("click", (event) => {
    const push = model.pushes.get(Number(event.target.closest(".push")?.dataset.push));
    const number = Number(event.target.closest(".try")?.dataset.number);
    if (push) select(push.id, number || lastTry(push), false);
  });
}

// Show what became of a push, and its row.
export function inspect(id) {
  const push = model.pushes.get(id);
  if (!push) return;
  select(id, lastTry(push), false);
  entries.get(id)?.scrollIntoView({ block: "nearest" });
}

const lastTry = (push) => push.tries.at(-1)?.number || 1;

// -- settings --------------------------------------------------------------------------------------------------------

export function showToolbar() {
  const { state } = model;
  const open = $("#faults")?.open;
  const focused = document.activeElement?.closest("#toolbar") ? document.activeElement.id : "";
  $("#toolbar").replaceChildren(
    choice("mode", "模式", state.modes.map((mode) => [mode, MODES[mode]]), state.mode, (mode) => configure({ mode })),
    choice("speed", "速度", speeds(), String(state.scale), (scale) => configure({ scale: Number(scale) })),
    choice("user", "用户", [...state.users.map((user, n) => [user, `用户 ${n + 1}　${user.length > 12 ? `${user.slice(0, 4)}…${user.slice(-4)}` : user}`]), ["+", "＋ 添加用户"]],
      model.openid, changeUser),
    faults(open),
    h("span", { class: "spacer" }),
    h("a", { id: "save-talk", href: "talk.json", download: "wechat-talk.json", class: "button", title: "把对话存为 JSON" },
      ...labelled("保存", "M12 4v11M7 11l5 5 5-5M5 20h14")),
    h("button", { type: "button", id: "open-talk", title: "打开存为 JSON 的对话", onclick: openTalk },
      ...labelled("打开", "M3 19V5h6l2 2.500h10V19z")),
    h("button", { type: "button", id: "clear", title: "忘掉所有对话", onclick: askToClear },
      ...labelled("清空", "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13")),
    ...speedNote(),
    ...problemNote());
  if (focused) document.getElementById(focused)?.focus();
}

// A word, and the icon that stands for it where there is little room.
const labelled = (word, path) => [icon(path), h("span", { class: "word" }, word)];

function askToClear() {
  if (!model.pushes.size) return;
  confirm("清空对话", `忘掉全部 ${model.pushes.size} 次推送？需要的话先「保存」。`, "清空", () => post("clear"));
}

const speeds = () => [...new Set([...SPEEDS, model.state.scale])].sort((a, b) => b - a)
  .map((scale) => [String(scale), `×${Number((1 / scale).toFixed(2))}`]);

function choice(id, label, options, value, change) {
  const select = h("select", { id, onchange: () => change(select.value) },
    ...options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
  return h("label", null, h("span", { class: "word" }, label), select);
}

function speedNote() {
  const { scale, bot_scales: together } = model.state;
  if (scale === 1) return [];
  return [h("p", { class: "hint" }, together
    ? "机器人与模拟器在同一进程，它的时钟也一起加速。"
    : "只有微信的 5 秒加快了：机器人在另一个进程里，它的时钟不变。")];
}

function problemNote() {
  const { problem, broken } = model.state;
  if (!problem) return [];
  if (!broken) return [h("p", { class: "advice", role: "status" }, problem)];
  return [h("div", { class: "advice broken", role: "alert" },
    h("b", null, "机器人没有加载成功，改好后存盘会自动重新加载"), h("pre", { tabindex: "0" }, problem))];
}

async function changeUser(user) {
  if (user === "+") {
    const added = `o${[...crypto.getRandomValues(new Uint8Array(27))].map((n) => "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"[n % 56]).join("")}`;
    model.openid = added;
    await configure({ users: [...model.state.users, added] });
  }
  model.openid = user === "+" ? model.openid : user;
  showToolbar();
  showChat();
}

function faults(open) {
  const now = model.state.faults;
  const count = (now.delay > 0) + now.drop.length + now.duplicate + (now.skew !== 0);
  const change = (changes) => configure({ faults: { ...now, ...changes } });
  const number = (id, label, value, name, least) => {
    const box = h("input", { id, type: "number", step: "any", min: least, value: String(value),
      onchange: () => change({ [name]: Number(box.value) || 0 }) });
    return h("label", null, label, box, "秒");
  };
  const tick = (id, label, on, changes) =>
    h("label", null, h("input", { id, type: "checkbox", checked: on, onchange: (event) => change(changes(event.target.checked)) }), label);
  const box = h("details", { id: "faults", open: open || false, class: count ? "active" : "" },
    h("summary", { id: "faults-summary" }, count ? `故障（${count}）` : "故障"),
    h("div", { class: "popup" },
      number("delay", "送达前延迟", now.delay, "delay", 0),
      ...[1, 2, 3].map((n) => tick(`drop-${n}`, `丢掉第 ${n} 次推送`, now.drop.includes(n), (on) =>
        ({ drop: on ? [...now.drop, n] : now.drop.filter((other) => other !== n) }))),
      tick("duplicate", "同一推送并发送达两份", now.duplicate, (on) => ({ duplicate: on })),
      number("skew", "微信时钟偏差", now.skew, "skew")));
  closeOutside(box);
  return box;
}

function openTalk() {
  const picker = h("input", { type: "file", accept: ".json,application/json" });
  picker.addEventListener("change", async () => {
    try {
      await post("talk.json", JSON.parse(await picker.files[0].text()));
    } catch (error) {
      toast(`打不开：${error.message}`);
    }
  });
  picker.click();
}

// -- the time line ---------------------------------------------------------------------------------------------------

const entries = new Map(); // of each push, by number

// `changed`: the pushes to look at again, by number; without it all of them.
export function showInspector(changed) {
  const list = $("#timeline");
  if (!changed) {
    list.replaceChildren();
    entries.clear();
  }
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  for (const id of changed || model.pushes.keys()) {
    const push = model.pushes.get(id);
    const old = entries.get(id);
    const focused = old?.contains(document.activeElement) ? document.activeElement.dataset.number : null;
    const node = push && id >= model.from ? entry(push) : null;
    if (!node) old?.remove(); else if (old) old.replaceWith(node); else insert(list, node);
    if (node) entries.set(id, node); else entries.delete(id);
    if (node && focused) node.querySelector(`[data-number="${focused}"]`)?.focus();
  }
  const role = entries.size ? "grid" : null; // a grid without rows is none
  if (list.role !== role) list.role = role;
  const full = $("#full");
  if (full.hidden !== model.pushes.size < model.state.keeps) {
    full.hidden = !full.hidden;
    full.textContent = `只留最近 ${model.state.keeps} 次推送，更早的已经忘掉；要留着就「保存」`;
  }
  follow(changed);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// In the order of numbers, whichever was over first.
function insert(list, node) {
  let before = list.lastElementChild;
  while (before && Number(before.dataset.push) > Number(node.dataset.push)) before = before.previousElementSibling;
  if (before) before.after(node); else list.prepend(node);
}

// Whether somebody has marked text in the detail: it stays until they have copied it.
function isReading() {
  const marked = getSelection();
  return !marked.isCollapsed && $("#detail").contains(marked.anchorNode);
}

function newestPush() {
  const ids = [...model.pushes.keys()];
  while (ids.length && (model.held.has(ids.at(-1)) || model.pushes.get(ids.at(-1)).copy_of)) ids.pop();
  return model.pushes.get(ids.at(-1));
}

// Show the newest try, unless the user has chosen another one.
function follow(changed) {
  if (isReading()) return;
  const newest = newestPush();
  if (!newest) {
    model.selected = null;
    $("#detail").replaceChildren(h("p", { class: "empty" }, "发一条消息，这里会说机器人答得对不对、哪里不对、怎么改。"));
    return;
  }
  const chosen = model.selected;
  if (!chosen || chosen.follow || !model.pushes.has(chosen.id)) {
    select(newest.id, lastTry(newest), true);
  } else if (!changed || changed.has(chosen.id)) {
    select(chosen.id, chosen.number, false);
  }
}

const levelOf = (push) => (push.running ? "running" : push.finding?.level || (push.tries.at(-1)?.outcome === "answered" ? "ok" : "error"));

function entry(push) {
  const said = typeof push.fields.Content === "string" ? push.fields.Content : String(push.fields.EventKey || "");
  const segments = push.tries.map((attempt, n) => segment(push, attempt, push.tries[n - 1]));
  if (push.running) segments.push(waiting(push));
  const level = levelOf(push);
  const tag = push.copy_of ? "副本" : push.repeat_of ? "重复" : push.silent ? "看不到回复" : "";
  return h("div", { class: "push", role: "row", "data-push": push.id, "data-level": level },
    h("span", { class: "what", role: "rowheader" }, h("b", null, `#${push.id} ${nameOf(push)}`),
      tag ? h("span", { class: "chip" }, tag) : null, h("span", { class: "said" }, said)),
    h("span", { class: "track", role: "none" }, ...segments),
    h("span", { class: "result", role: "gridcell" }, VERDICTS[level][0], " ", push.running ? "" : seconds(push.elapsed)),
    h("time", { role: "gridcell" }, clock(push.at)));
}

const percent = (time) => `${Math.min(100, (time / SPAN) * 100)}%`;

function segment(push, attempt, before) {
  const said = attempt.status === null ? (attempt.error === "timeout" ? "超时" : "连不上") : String(attempt.status);
  const label = `第 ${attempt.number} 次推送，${said}，${seconds(attempt.elapsed)}`;
  const gap = before ? attempt.started - before.started - before.elapsed : attempt.started;
  return tryButton(push, attempt.number, attempt.outcome, label,
    { width: percent(attempt.elapsed), "margin-left": gap > 0.05 ? percent(gap) : "0" });
}

// The try under way: its segment grows for as long as WeChat waits.
function waiting(push) {
  const growing = tryButton(push, push.tries.length + 1, "running", `第 ${push.tries.length + 1} 次推送，等待应答`,
    { width: "0", "transition-duration": `${5 * push.scale}s` });
  requestAnimationFrame(() => requestAnimationFrame(() => { growing.style.width = percent(5); }));
  return growing;
}

function tryButton(push, number, outcome, label, style) {
  const chosen = isSelected(push.id, number);
  return h("button", {
    type: "button", class: "try", role: "gridcell", "data-number": number, "data-outcome": outcome, title: label, "aria-label": label,
    "aria-selected": String(chosen), tabindex: chosen ? 0 : -1, style,
  }, String(number));
}

const isSelected = (id, number) => model.selected?.id === id && model.selected.number === number;

// One tab stop: the chosen try. Up and down lead to the next push, left and right to its tries.
function move(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] }[event.key];
  const row = event.target.closest(".push");
  if (!step || !row) return;
  event.preventDefault();
  const rows = [...$("#timeline").children];
  const at = (list, index) => list[Math.max(0, Math.min(list.length - 1, index))];
  const next = at(rows, rows.indexOf(row) + step[0]);
  const tries = [...row.querySelectorAll(".try")];
  const chosen = next === row ? at(tries, tries.indexOf(event.target) + step[1]) : [...next.querySelectorAll(".try")].at(-1);
  select(Number(next.dataset.push), Number(chosen.dataset.number), false);
  chosen.focus();
}

function select(id, number, following) {
  const before = model.selected;
  model.selected = { id, number, follow: following };
  for (const chosen of new Set([before?.id, id])) {
    const row = entries.get(chosen);
    row?.classList.toggle("chosen", chosen === id);
    for (const node of row?.querySelectorAll(".try") || []) {
      const on = isSelected(chosen, Number(node.dataset.number));
      node.setAttribute("aria-selected", String(on));
      node.tabIndex = on ? 0 : -1;
    }
  }
  const push = model.pushes.get(id);
  if (!following && push === newestPush()) model.selected.follow = lastTry(push) === number;
  showChosen(following ? null : id);
  showDetail();
}

// -- one push, and one of its tries ----------------------------------------------------------------------------------

function showDetail() {
  const push = model.pushes.get(model.selected.id);
  const attempt = push.tries.find((one) => one.number === model.selected.number);
  const detail = $("#detail");
  const { scrollTop } = detail;
  const focused = detail.contains(document.activeElement) ? document.activeElement.textContent : "";
  detail.replaceChildren(headline(push), actions(push),
    h("div", { class: "columns" }, replyColumn(push, attempt), requestColumn(push)));
  detail.scrollTop = scrollTop;
  if (focused) [...detail.querySelectorAll("button, summary")].find((node) => node.textContent === focused)?.focus();
}

// What became of the push, why, and what to do about it.
function headline(push) {
  const level = levelOf(push);
  const { cause, fix } = push.running ? { cause: `等待机器人回复，第 ${push.tries.length + 1} 次推送`, fix: "" }
    : push.finding || { cause: OUTCOMES[push.tries.at(-1)?.outcome] || "没有推送出去", fix: "" };
  return h("div", { class: `headline ${level}` },
    h("span", { class: "sign", "aria-hidden": "true" }, VERDICTS[level][1]),
    h("div", null,
      h("h2", null, h("span", { class: "sr" }, `${VERDICTS[level][0]}：`), cause),
      fix ? h("p", { class: "fix" }, fix) : null,
      ...(push.notes || []).map((note) => h("p", { class: "note" }, note)),
      h("p", { class: "meta" }, `#${push.id} ${nameOf(push)}　${clock(push.at)}`)));
}

function actions(push) {
  const again = (body) => () => post(`push/${push.id}/again`, body);
  return h("div", { class: "actions" },
    button("重发", again({ new: true }), { title: "新的 MsgId" }),
    button("改一改再发", () => edit(push), { title: "放回输入框或表单" }),
    button("同一 MsgId 再推", again({ new: false }), { title: "机器人应当去重" }),
    button("连发 10 条", again({ new: true, burst: true })),
    button("复制为 curl", () => copy(push, "curl")),
    button("复制为 pytest", () => copy(push, "pytest"), { title: "到这一条为止的整个对话" }));
}

async function copy(push, form) {
  const text = await get(`push/${push.id}/${form}`);
  const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
  openDialog(form === "curl" ? "复制为 curl" : "复制为 pytest", () => h("div", null,
    h("p", { class: "hint" }, copied ? "已复制到剪贴板" : "请手动复制"),
    h("textarea", { id: "copied", rows: 14, readonly: true, spellcheck: "false", "aria-label": form, value: text })));
}

const choices = new Map(); // of the blocks, which one the user has opened or closed

// A block that can be folded. What is in it is made when it is first seen: most of them are never opened.
function block(title, note, open, make, props) {
  const content = h("div");
  const isOpen = choices.get(title) ?? open;
  const show = () => { if (!content.firstChild) content.append(...[make()].flat()); };
  if (isOpen) show();
  const choose = (event) => {
    if (event.target.open !== isOpen) choices.set(title, event.target.open); // and not when it is made open
    if (event.target.open) show();
  };
  return h("details", { open: isOpen, ontoggle: choose, ...props }, h("summary", null, title, note ? h("small", null, note) : null), content);
}

// Only what is long scrolls by itself, since each box that can scroll costs a layer of its own.
const code = (text, props) => h("pre", { ...props, ...(text.length > 1500 ? { tabindex: "0", "data-long": true } : {}) }, text);

const table = (rows) => h("table", null, ...rows.map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, value))));

function requestColumn(push) {
  const { request } = push;
  const secret = push.mode !== "plain";
  return h("div", null, h("h3", null, "微信 → 机器人"),
    block(secret ? "推送的明文" : "推送的正文", `${bytes(push.xml)} 字节`, true, () => code(prettyXml(push.xml))),
    block("查询参数", `${(request.params || []).length} 个`, false, () => table(request.params || [])),
    ...(request.signatures || []).map(signature),
    secret ? block("推送的加密包", `${request.bytes} 字节`, false, () => code(prettyXml(request.body))) : null);
}

const bytes = (text) => new TextEncoder().encode(text).length;

function replyColumn(push, attempt) {
  const several = push.tries.length > 1 || push.running;
  const title = h("h3", null, "机器人 → 微信",
    attempt && several ? h("small", null, `第 ${attempt.number} 次：${OUTCOMES[attempt.outcome]}，${seconds(attempt.elapsed)}`) : null);
  const own = push.bot ? botSide(push.bot) : null;
  if (!attempt) return h("div", null, title, own, h("p", { class: "empty" }, "还没有应答。"));
  const told = attempt.advice && attempt.advice !== `${push.finding?.cause}。${push.finding?.fix}`; // else it stands above
  const advice = told ? h("p", { class: "advice" }, attempt.advice) : null;
  if (attempt.status === null) return h("div", null, title, own, advice);
  const sealed = attempt.xml && attempt.xml !== attempt.reply;
  const fine = attempt.checks.every((check) => check.level === "ok");
  return h("div", null, title,
    own,
    advice,
    block(fine ? "检查" : "没有通过的检查", verdict(attempt.checks), !fine, () => checks(attempt.checks)),
    attempt.xml ? block(sealed ? "回复的明文" : "回复的正文", `${bytes(attempt.xml)} 字节`, true, () => code(prettyXml(attempt.xml))) : null,
    ...(attempt.signatures || []).map(signature),
    attempt.xml && !sealed ? null
      : block(sealed ? "回复的加密包" : "回复的正文", `${attempt.bytes} 字节`, !sealed, () => code(prettyXml(attempt.reply) || "（空）")),
    block("状态与响应头", String(attempt.status), attempt.status !== 200, () => table(Object.entries(attempt.headers || {}))));
}

// What the bot's own process says of this push: which handler, how long, its log. Only where it runs beside the page.
function botSide(bot) {
  const line = ({ level, text }) => code(text, { class: level.toLowerCase() });
  return block(bot.failed ? "处理函数出错" : "机器人这边", bot.took === null ? "" : seconds(bot.took), true,
    () => [bot.handler ? h("p", { class: "where" }, bot.handler) : null, ...bot.lines.map(line)].filter(Boolean),
    { class: `bot-side${bot.failed ? " failed" : ""}` });
}

// What is wrong in full, then what is right, each once: an encrypted reply is XML inside of XML.
function checks(list) {
  const seen = new Set();
  const name = (check) => h("code", null, check.name);
  const row = (check) => h("li", { class: check.level }, h("span", { class: "level" }, LEVELS[check.level] || check.level),
    h("b", null, check.title || check.name), " ", name(check), h("small", null, check.detail));
  const fine = list.filter((check) => check.level === "ok" && !seen.has(check.name) && seen.add(check.name));
  return h("ul", { class: "checks" }, ...list.filter((check) => check.level !== "ok").map(row), ...fine.map((check) =>
    h("li", { class: "ok" }, h("span", { class: "level" }, LEVELS.ok), h("b", null, check.title || check.name), " ", name(check))));
}

function verdict(list) {
  const count = (level) => list.filter((check) => check.level === level).length;
  return Object.keys(LEVELS).filter(count).map((level) => `${LEVELS[level]} ${count(level)}`).join("，");
}

// How a signature comes about: the parts in order, joined, hashed.
function signature(trace) {
  const right = trace.sha1 === trace.claimed;
  return block(`${trace.name} 的由来`, right ? "一致" : "不一致", !right, () =>
    h("ol", { class: "steps" },
      h("li", null, "按字典序排列", table(trace.parts)),
      h("li", null, "首尾相接", code(trace.joined)),
      h("li", null, "SHA-1", code(trace.sha1)),
      right ? null : h("li", { class: "wrong" }, "应答里写的是", code(trace.claimed))));
}
