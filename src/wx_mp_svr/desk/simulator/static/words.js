// Text: web addresses, XML for people, times, and the words for outcomes.

import { h } from "./dom.js";

const ADDRESS = /https?:\/\/[^\s<>"'，。；！？（）【】、]+/g;

export function webLink(label, href) {
  if (!/^https?:\/\//i.test(href)) return h("span", { class: "dead-link", title: href }, label);
  return h("a", { href, target: "_blank", rel: "noopener noreferrer" }, label);
}

// Plain words, with bare web addresses as links, as WeChat shows them.
export function words(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    nodes.push(text.slice(end, match.index), webLink(match[0], match[0]));
    end = match.index + match[0].length;
  }
  return [...nodes, text.slice(end)].filter((node) => node !== "");
}

// Indents by cutting at tags only; no parser, so nothing is expanded or loaded, and what is not XML stays as it is.
export function prettyXml(text) {
  if (!text.trim().startsWith("<")) return text;
  const tokens = text.match(/<!\[CDATA\[[\s\S]*?\]\]>|<[^>]+>|[^<]+|</g) || [];
  let depth = 0;
  let out = "";
  let opened = false; // the last token opened an element that holds nothing yet
  for (const token of tokens) {
    if (/^<\/[^>]+>$/.test(token)) {
      depth = Math.max(0, depth - 1);
      out += opened ? token : `\n${"  ".repeat(depth)}${token}`;
      opened = false;
    } else if (/^<[^!?][^>]*[^/]>$|^<[^!?/]>$/.test(token)) {
      out += `${out ? "\n" : ""}${"  ".repeat(depth)}${token}`;
      depth += 1;
      opened = true;
    } else if (token.trim()) {
      out += token;
    }
  }
  return out;
}

const pad = (number) => String(number).padStart(2, "0");

export const clock = (ms) => {
  const time = new Date(ms);
  return `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
};

// As WeChat dates a talk: 09:30, 昨天 09:30, 星期三 09:30, 2026年1月2日 09:30.
export function stamp(ms) {
  const time = new Date(ms);
  const hour = `${pad(time.getHours())}:${pad(time.getMinutes())}`;
  const midnight = new Date().setHours(0, 0, 0, 0);
  const days = Math.ceil((midnight - ms) / 86400000);
  if (days <= 0) return hour;
  if (days === 1) return `昨天 ${hour}`;
  if (days < 7) return `星期${"日一二三四五六"[time.getDay()]} ${hour}`;
  return `${time.getFullYear()}年${time.getMonth() + 1}月${time.getDate()}日 ${hour}`;
}

export const seconds = (value) => (value < 0.1 ? `${Math.max(1, Math.round(value * 1000))} 毫秒` : `${value.toFixed(2)} 秒`);

export const LEVELS = { ok: "通过", harmful: "有损", wrong: "错误" };

export const OUTCOMES = {
  answered: "已应答", harmful: "已应答，但有损", "hung-up": "超时，微信已挂断", error: "应答无效", running: "等待应答…",
};

// How bad a headline is, as a word and as a sign.
export const VERDICTS = { ok: ["正常", "✓"], warning: ["注意", "!"], error: ["有错", "✕"], running: ["等待", "…"] };
