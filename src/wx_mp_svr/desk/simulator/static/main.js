// Puts the page together: what the simulator tells goes into the model, and from there into chat and inspector.

import { $ } from "./dom.js";
import { listen, post } from "./net.js";
import { model } from "./model.js";
import { showAccount, showChat, startChat } from "./chat.js";
import { editAgain, showMenu, showSuggestions, startComposer } from "./composer.js";
import { inspect, showInspector, showToolbar, startInspector } from "./inspector.js";

// What has changed since the last frame; of many pushes at once the page is drawn once.
let changed = new Set();
let asked = false;

function take(message) {
  if (message.all) {
    model.pushes.clear();
    changed = null;
  }
  if (message.state) {
    model.state = message.state;
    if (!model.state.users.includes(model.openid)) model.openid = model.state.users[0];
    showAccount();
    showMenu();
    showToolbar();
    if (model.state.fresh && !model.state.problem) post("follow").catch(() => {});
  }
  for (const push of message.pushes || []) {
    model.pushes.set(push.id, push);
    changed?.add(push.id);
  }
  for (const id of message.forgotten || []) {
    model.pushes.delete(id);
    changed?.add(id);
  }
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

function draw() {
  const now = changed;
  changed = new Set();
  asked = false;
  showChat(now);
  showInspector(now);
  showSuggestions();
}

function showTab(name) {
  document.body.dataset.tab = name;
  for (const tab of document.querySelectorAll("#tabs [role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.id === `tab-${name}`));
  }
}

function startTabs() {
  for (const name of ["chat", "inspector"]) $(`#tab-${name}`).addEventListener("click", () => showTab(name));
  $("#tabs").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    showTab(document.body.dataset.tab === "chat" ? "inspector" : "chat");
    $("#tabs [aria-selected=true]").focus();
  });
}

function edit(push) {
  showTab("chat");
  editAgain(push);
}

async function start() {
  model.kinds = await (await fetch("static/kinds.json")).json();
  startTabs();
  startChat((id) => { inspect(id); showTab("inspector"); }, edit);
  startInspector(edit);
  startComposer();
  listen(take, (connected) => { $("#offline").hidden = connected; }, () => model.state?.secret);
}

start();
