// Puts the page together: what the simulator tells goes into the model, and from there into chat and inspector.

import { $ } from "./dom.js";
import { listen } from "./net.js";
import { model } from "./model.js";
import { forgetChat, showAccount, showChat } from "./chat.js";
import { showMenu, startComposer } from "./composer.js";
import { showInspector, showToolbar, startInspector } from "./inspector.js";

function take(message) {
  if (message.all) {
    model.pushes.clear();
    forgetChat();
  }
  if (message.state) {
    model.state = message.state;
    if (!model.state.users.includes(model.openid)) model.openid = model.state.users[0];
    showAccount();
    showMenu();
    showToolbar();
  }
  for (const push of message.pushes || []) model.pushes.set(push.id, push);
  showChat();
  showInspector(message.all ? null : (message.pushes || []).map((push) => push.id));
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

async function start() {
  model.kinds = await (await fetch("static/kinds.json")).json();
  startTabs();
  startComposer();
  startInspector();
  listen(take, (connected) => { $("#offline").hidden = connected; });
}

start();
