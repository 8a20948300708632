// The simulator's API. Addresses are relative: the key stands in the page's own path.

import { toast } from "./dom.js";

let connected = true;

export const isConnected = () => connected;

export const sayDead = () => toast("模拟器没有在运行：到终端里重新启动它。写的话留在输入框里");

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body || {}),
  }).catch((error) => {
    sayDead();
    throw error;
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    toast(answer.error || `模拟器回答 ${response.status}`);
    throw new Error(answer.error || String(response.status));
  }
  return answer;
}

export const get = (path) => fetch(path).then((response) => response.text());

export function listen(onMessage, onConnection, secretNow) {
  const source = new EventSource("events"); // reconnects by itself, and then gets everything anew
  const change = (now) => {
    connected = now;
    onConnection(now);
  };
  source.onmessage = (event) => onMessage(JSON.parse(event.data));
  source.onopen = () => change(true);
  source.onerror = () => {
    change(false);
    if (source.readyState === EventSource.CLOSED) comeBack(secretNow()); // a simulator is there, but with another key
  };
}

// After a restart: prove that this page was open before, without saying its secret to whoever listens there now.
async function comeBack(secret) {
  try {
    const { challenge } = await (await fetch("/back")).json();
    const bytes = (text) => new TextEncoder().encode(text);
    const key = await crypto.subtle.importKey("raw", bytes(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const signed = new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(challenge)));
    const proof = [...signed].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const answer = await fetch("/back", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ challenge, proof }),
    });
    location.replace(`/${(await answer.json()).key}/`);
  } catch (error) {
    document.getElementById("offline").textContent = "这里现在是另一个模拟器：请用终端里打印的网址打开";
  }
}
