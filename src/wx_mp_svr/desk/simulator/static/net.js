// The simulator's API. Addresses are relative: the key stands in the page's own path.

import { toast } from "./dom.js";

export async function post(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body || {}),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    toast(answer.error || `模拟器回答 ${response.status}`);
    throw new Error(answer.error || String(response.status));
  }
  return answer;
}

export const get = (path) => fetch(path).then((response) => response.text());

export function listen(onMessage, onConnection) {
  const source = new EventSource("events"); // reconnects by itself, and then gets everything anew
  source.onmessage = (event) => onMessage(JSON.parse(event.data));
  source.onopen = () => onConnection(true);
  source.onerror = () => onConnection(false);
}
