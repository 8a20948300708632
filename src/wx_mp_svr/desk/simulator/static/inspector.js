// The inspector on the right: settings, one row per try on a time line, and everything about the chosen try.

import { $, button, h, openDialog, toast } from "./dom.js";
import { get, post } from "./net.js";
import { configure, model, nameOf } from "./model.js";
import { showChat } from "./chat.js";
import { clock, explain, LEVELS, OUTCOMES, prettyXml, seconds } from "./words.js";

const SPAN = 15; // seconds on the time line
const MODES = { plain: "明文模式", compatible: "兼容模式", safe: "安全模式" };
const SPEEDS = [1, 0.2, 0.05];

export function startInspector() {
  $("#axis").append(h("div", { class: "track" }, ...[0, 5, 10, 15].map((at) =>
    h("span", { style: { left: `${(at / SPAN) * 100}%` } }, `${at} 秒`))));
  $("#log").addEventListener("click", (event) => {
    const mark = event.target.closest(".failed-mark");
    const push = mark && model.pushes.get(Number(mark.dataset.push));
    if (push) select(push.id, push.tries.at(-1)?.number || 1, false);
  });
}

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
    h("a", { id: "save-talk", href: "talk.json", download: "wechat-talk.json", class: "button", title: "把会话存为 JSON" }, "保存"),
    button("打开", openTalk, { id: "open-talk", title: "打开存为 JSON 的会话" }),
    button("清空", () => post("clear"), { id: "clear" }),
    ...speedNote(),
    ...problemNote());
  if (focused) document.getElementById(focused)?.focus();
}

const speeds = () => [...new Set([...SPEEDS, model.state.scale])].sort((a, b) => b - a)
  .map((scale) => [String(scale), `×${Number((1 / scale).toFixed(2))}`]);

function choice(id, label, options, value, change) {
  const select = h("select", { id, onchange: () => change(select.value) },
    ...options.map(([key, text]) => h("option", { value: key }, text)));
  select.value = value;
  return h("label", null, label, select);
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
  return h("details", { id: "faults", open: open || false, class: count ? "active" : "" },
    h("summary", null, count ? `故障（${count}）` : "故障"),
    h("div", { class: "popup" },
      number("delay", "送达前延迟", now.delay, "delay", 0),
      ...[1, 2, 3].map((n) => tick(`drop-${n}`, `丢掉第 ${n} 次推送`, now.drop.includes(n), (on) =>
        ({ drop: on ? [...now.drop, n] : now.drop.filter((other) => other !== n) }))),
      tick("duplicate", "同一推送并发送达两份", now.duplicate, (on) => ({ duplicate: on })),
      number("skew", "微信时钟偏差", now.skew, "skew")));
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
    const node = push ? entry(push) : null;
    if (!node) old?.remove(); else if (old) old.replaceWith(node); else list.append(node);
    if (node) entries.set(id, node); else entries.delete(id);
    if (node && focused) node.querySelector(`[data-number="${focused}"]`)?.focus();
  }
  follow(changed);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// Whether somebody has marked text in the detail: it stays until they have copied it.
function isReading() {
  const marked = getSelection();
  return !marked.isCollapsed && $("#detail").contains(marked.anchorNode);
}

// Show the newest try, unless the user has chosen another one.
function follow(changed) {
  if (isReading()) return;
  const newest = [...model.pushes.values()].filter((push) => !push.copy_of).at(-1);
  if (!newest) {
    $("#detail").replaceChildren(h("p", { class: "empty" }, "发一条消息，这里会显示微信推送了什么、机器人答了什么、哪里不对。"));
    return;
  }
  const chosen = model.selected;
  if (!chosen || chosen.follow || !model.pushes.has(chosen.id)) {
    select(newest.id, newest.tries.at(-1)?.number || 1, true);
  } else if (!changed || changed.has(chosen.id)) {
    showDetail();
  }
}

function entry(push) {
  const said = typeof push.fields.Content === "string" ? push.fields.Content : String(push.fields.EventKey || "");
  const rows = push.tries.map((attempt) => row(push, attempt));
  if (push.running) rows.push(waiting(push));
  return h("div", { class: "push", role: "listitem", "data-push": push.id },
    h("div", { class: "head" }, h("b", null, `#${push.id} ${nameOf(push)}`),
      push.copy_of ? h("span", { class: "chip" }, `#${push.copy_of} 的副本`) : null,
      push.bot?.failed ? h("span", { class: "chip error" }, "处理函数出错") : null,
      h("span", { class: "said" }, said), h("time", null, clock(push.at))),
    ...rows);
}

function row(push, attempt) {
  const result = attempt.status === null ? (attempt.error === "timeout" ? "超时" : "连不上") : String(attempt.status);
  return h("button", {
    type: "button", class: "try", "data-number": attempt.number, "data-outcome": attempt.outcome,
    "aria-pressed": String(isSelected(push.id, attempt.number)),
    "aria-label": `第 ${attempt.number} 次推送，${OUTCOMES[attempt.outcome]}，${seconds(attempt.elapsed)}`,
    onclick: () => select(push.id, attempt.number, false),
  },
  h("span", { class: "nth" }, `第 ${attempt.number} 次`),
  h("span", { class: "track" }, bar(attempt.started, attempt.elapsed, attempt.outcome)),
  h("span", { class: "result" }, result), h("span", { class: "took" }, seconds(attempt.elapsed)));
}

function bar(started, elapsed, outcome) {
  const percent = (value) => `${Math.min(100, (value / SPAN) * 100)}%`;
  return h("span", { class: `bar ${outcome}`, style: { left: percent(started), width: percent(elapsed) } });
}

// The try under way: its bar grows for as long as WeChat waits.
function waiting(push) {
  const last = push.tries.at(-1);
  const started = last ? last.started + last.elapsed : 0;
  const growing = bar(started, 0, "running");
  growing.style.transitionDuration = `${5 * push.scale}s`;
  requestAnimationFrame(() => requestAnimationFrame(() => { growing.style.width = `${(5 / SPAN) * 100}%`; }));
  return h("div", { class: "try", "data-outcome": "running" },
    h("span", { class: "nth" }, `第 ${push.tries.length + 1} 次`), h("span", { class: "track" }, growing),
    h("span", { class: "result" }, "…"), h("span", { class: "took" }));
}

const isSelected = (id, number) => model.selected?.id === id && model.selected.number === number;

function select(id, number, following) {
  const before = model.selected;
  model.selected = { id, number, follow: following };
  for (const chosen of [before, model.selected]) {
    for (const node of entries.get(chosen?.id)?.querySelectorAll("button.try") || []) {
      node.setAttribute("aria-pressed", String(isSelected(chosen.id, Number(node.dataset.number))));
    }
  }
  const newest = [...model.pushes.keys()].at(-1);
  if (id === newest && !following) model.selected.follow = model.pushes.get(id).tries.at(-1)?.number === number;
  showDetail();
}

// -- one try ---------------------------------------------------------------------------------------------------------

function showDetail() {
  const push = model.pushes.get(model.selected.id);
  const attempt = push.tries.find((one) => one.number === model.selected.number);
  const detail = $("#detail");
  const { scrollTop } = detail;
  detail.replaceChildren(heading(push, attempt), h("div", { class: "columns" }, requestColumn(push), replyColumn(push, attempt)));
  detail.scrollTop = scrollTop;
}

function heading(push, attempt) {
  const again = (body) => () => post(`push/${push.id}/again`, body);
  const outcome = attempt ? attempt.outcome : "running";
  const summary = attempt ? `第 ${attempt.number} 次　${OUTCOMES[outcome]}　${seconds(attempt.elapsed)}` : OUTCOMES.running;
  return h("div", { class: "heading" },
    h("h2", null, `#${push.id} ${nameOf(push)}`, h("span", { class: `chip ${outcome}` }, summary)),
    h("div", { class: "actions" },
      button("重发", again({ new: true }), { title: "新的 MsgId" }),
      button("同一 MsgId 再推", again({ new: false }), { title: "机器人应当去重" }),
      button("连发 10 条", again({ new: true, burst: true })),
      button("复制为 curl", () => copy(push, "curl")),
      button("复制为 pytest", () => copy(push, "pytest"))));
}

async function copy(push, form) {
  const text = await get(`push/${push.id}/${form}`);
  const copied = await navigator.clipboard.writeText(text).then(() => true, () => false);
  openDialog(form === "curl" ? "复制为 curl" : "复制为 pytest", () => h("div", null,
    h("p", { class: "hint" }, copied ? "已复制到剪贴板" : "请手动复制"),
    h("textarea", { id: "copied", rows: 14, readonly: true, spellcheck: "false", "aria-label": form, value: text })));
}

const folded = new Set(); // the blocks that the user does not want to see

const fold = (title) => (event) => { if (event.target.open) folded.delete(title); else folded.add(title); };

const block = (title, note, ...content) =>
  h("details", { open: !folded.has(title), ontoggle: fold(title) }, h("summary", null, title, note ? h("small", null, note) : null), ...content);

const code = (text) => h("pre", { tabindex: "0" }, text);

const table = (rows) => h("table", null, ...rows.map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, value))));

function requestColumn(push) {
  const { request } = push;
  const secret = push.mode !== "plain";
  return h("div", null, h("h3", null, "微信 → 机器人"),
    block(secret ? "明文" : "正文", `${bytes(push.xml)} 字节`, code(prettyXml(push.xml))),
    block("查询参数", "", table(request.params || [])),
    ...(request.signatures || []).map(signature),
    secret ? block("加密包", `${request.bytes} 字节`, code(prettyXml(request.body))) : null);
}

const bytes = (text) => new TextEncoder().encode(text).length;

function replyColumn(push, attempt) {
  const title = h("h3", null, "机器人 → 微信");
  const own = push.bot ? botSide(push.bot) : null;
  if (!attempt) return h("div", null, title, own, h("p", { class: "empty" }, "还没有应答。"));
  const advice = attempt.advice ? h("p", { class: "advice" }, attempt.advice) : null;
  if (attempt.status === null) return h("div", null, title, own, advice);
  const sealed = attempt.xml && attempt.xml !== attempt.reply;
  return h("div", null, title,
    own,
    advice,
    block("检查", verdict(attempt.checks), checks(attempt.checks)),
    attempt.xml ? block(sealed ? "明文" : "正文", `${bytes(attempt.xml)} 字节`, code(prettyXml(attempt.xml))) : null,
    ...(attempt.signatures || []).map(signature),
    attempt.xml && !sealed ? null : block(sealed ? "加密包" : "正文", `${attempt.bytes} 字节`, code(prettyXml(attempt.reply) || "（空）")),
    block("状态与响应头", String(attempt.status), table(Object.entries(attempt.headers || {}))));
}

// What the bot's own process says of this push: which handler, how long, its log. Only where it runs beside the page.
function botSide(bot) {
  const line = ({ level, text }) => h("pre", { class: level.toLowerCase(), tabindex: "0" }, text);
  return h("details", { class: `bot-side${bot.failed ? " failed" : ""}`, open: !folded.has("机器人这边"), ontoggle: fold("机器人这边") },
    h("summary", null, bot.failed ? "处理函数出错" : "机器人这边", bot.took === null ? null : h("small", null, seconds(bot.took))),
    bot.handler ? h("p", { class: "place" }, bot.handler) : null,
    ...bot.lines.map(line));
}

// What is wrong in full, then what is right as small chips, each once: an encrypted reply is XML inside of XML.
function checks(list) {
  const seen = new Set();
  const row = (check) => h("li", { class: check.level }, h("span", { class: "level" }, LEVELS[check.level] || check.level),
    h("b", null, check.name), " ", h("small", null, `${explain(check.name)}（${check.detail}）`));
  const chip = (check) => h("li", { class: "ok", title: check.detail || explain(check.name) },
    h("span", { class: "sr" }, LEVELS.ok), h("span", { "aria-hidden": "true" }, "✓ "), h("b", null, check.name));
  const fine = list.filter((check) => check.level === "ok" && !seen.has(check.name) && seen.add(check.name));
  return h("ul", { class: "checks" }, ...list.filter((check) => check.level !== "ok").map(row), ...fine.map(chip));
}

function verdict(list) {
  const count = (level) => list.filter((check) => check.level === level).length;
  return Object.keys(LEVELS).filter(count).map((level) => `${LEVELS[level]} ${count(level)}`).join("，");
}

// How a signature comes about: the parts in order, joined, hashed.
function signature(trace) {
  const right = trace.sha1 === trace.claimed;
  return block(`${trace.name} 的由来`, right ? "一致" : "不一致",
    h("ol", { class: "steps" },
      h("li", null, "按字典序排列", table(trace.parts)),
      h("li", null, "首尾相接", code(trace.joined)),
      h("li", null, "SHA-1", code(trace.sha1)),
      right ? null : h("li", { class: "wrong" }, "应答里写的是", code(trace.claimed))));
}
