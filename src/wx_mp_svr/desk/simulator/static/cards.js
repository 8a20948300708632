// The look of everything in a chat that is not words. Drawn here: nothing is fetched.

import { h, svg } from "./dom.js";
import { hash } from "./model.js";
import { webLink } from "./words.js";

export function avatar(who, seed) {
  const hue = hash(seed) % 360;
  const face = who === "bot"
    ? [
      svg("rect", { width: 40, height: 40, fill: "#07c160" }),
      svg("path", { d: "M20 10c-6.600 0-12 4.300-12 9.600 0 3 1.700 5.600 4.400 7.400l-1.100 4 4.700-2.500c1.300.3 2.600.5 4 .5 6.600 0 12-4.300 12-9.500S26.600 10 20 10z", fill: "#fff" }),
      svg("circle", { cx: 15.5, cy: 18.5, r: 1.7, fill: "#07c160" }),
      svg("circle", { cx: 24.5, cy: 18.5, r: 1.7, fill: "#07c160" }),
    ]
    : [
      svg("rect", { width: 40, height: 40, fill: `hsl(${hue} 45% 78%)` }),
      svg("circle", { cx: 31, cy: 9, r: 5, fill: `hsl(${hue} 60% 92%)` }),
      svg("circle", { cx: 20, cy: 16.5, r: 7.5, fill: `hsl(${hue} 30% 38%)` }),
      svg("path", { d: "M5 40c1.500-9 7.500-13.500 15-13.500S33.500 31 35 40z", fill: `hsl(${hue} 30% 38%)` }),
    ];
  return svg("svg", { viewBox: "0 0 40 40", class: "avatar", "aria-hidden": "true" }, ...face);
}

function landscape(seed, width, height) {
  const hue = hash(seed) % 360;
  return svg("svg", { viewBox: "0 0 160 120", width, height, preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    svg("rect", { width: 160, height: 120, fill: `hsl(${hue} 55% 82%)` }),
    svg("circle", { cx: 122, cy: 30, r: 13, fill: `hsl(${(hue + 40) % 360} 90% 92%)` }),
    svg("path", { d: "M0 92 44 46l34 34 18-17 64 46v11H0z", fill: `hsl(${hue} 38% 58%)` }),
    svg("path", { d: "M0 120V98l26-16 30 20 26-12 40 18 38-14v26z", fill: `hsl(${hue} 40% 42%)` }));
}

const text = (value) => (typeof value === "string" ? value : "");

function caption(mediaId) {
  return h("span", { class: "media-id", title: mediaId }, mediaId);
}

export function image(mediaId, picUrl) {
  // A data: URL is in our hands already; any other picture would have to be fetched.
  const local = /^data:image\/(png|jpeg|gif|webp);base64,/.test(text(picUrl));
  const picture = local ? h("img", { src: picUrl, alt: "" }) : landscape(mediaId, 160, 120);
  return h("div", { class: "picture", role: "img", "aria-label": `图片 ${text(mediaId)}` }, picture, caption(text(mediaId)));
}

export function voice(mediaId, recognition) {
  const length = 2 + hash(mediaId) % 12;
  const arcs = svg("svg", { viewBox: "0 0 20 20", class: "arcs", "aria-hidden": "true" },
    svg("path", { d: "M3.500 10 5.300 8.200a2.500 2.500 0 0 1 0 3.600z", fill: "currentColor" }),
    svg("path", { d: "M8.200 5.600a6.200 6.200 0 0 1 0 8.800M11.300 2.900a10 10 0 0 1 0 14.200" }));
  return h("div", {
    class: "bubble voice", role: "img", "aria-label": `语音 ${length} 秒 ${text(mediaId)}`,
    title: text(mediaId), style: { width: `${72 + length * 8}px` },
  }, arcs, h("span", null, `${length}″`), recognition ? h("small", null, text(recognition)) : null);
}

export function video(mediaId, title) {
  const length = 5 + hash(mediaId) % 50;
  return h("div", { class: "picture video", role: "img", "aria-label": `视频 ${text(title)} ${text(mediaId)}` },
    landscape(`video ${mediaId}`, 150, 200),
    svg("svg", { viewBox: "0 0 48 48", class: "play", "aria-hidden": "true" },
      svg("circle", { cx: 24, cy: 24, r: 22 }), svg("path", { d: "M19 15.500 34 24 19 32.500z" })),
    h("span", { class: "duration" }, `0:${String(length).padStart(2, "0")}`),
    title ? h("span", { class: "media-id" }, text(title)) : caption(text(mediaId)));
}

export function place(label, latitude, longitude) {
  const turn = hash(`${latitude},${longitude}`);
  const y = 34 + turn % 30;
  const map = svg("svg", { viewBox: "0 0 240 110", class: "map", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    svg("rect", { width: 240, height: 110, fill: "#f3f1ec" }),
    svg("path", { d: `M0 ${y + 34}C60 ${y + 14} 120 ${y + 60} 240 ${y + 22}V110H0z`, fill: "#a9d3f2" }),
    svg("path", { d: "M22 12h52v30H22zM168 8h48v26h-48z", fill: "#cfe8c4" }),
    svg("path", { d: `M0 ${y}H240M64 0V110M150 0 132 110`, stroke: "#fff", "stroke-width": 7, fill: "none" }),
    svg("path", { d: `M0 ${y + 18}C80 ${y + 4} 160 ${y + 30} 240 ${y + 6}`, stroke: "#ffe08a", "stroke-width": 8, fill: "none" }),
    svg("ellipse", { cx: 120, cy: 74, rx: 7, ry: 2.5, fill: "#0003" }),
    svg("path", { d: "M120 74c-9-12-15-19-15-27a15 15 0 0 1 30 0c0 8-6 15-15 27z", fill: "#07c160" }),
    svg("circle", { cx: 120, cy: 47, r: 5.5, fill: "#fff" }));
  return h("div", { class: "card place" },
    h("b", null, text(label) || "位置"), h("small", null, `纬度 ${text(latitude)}　经度 ${text(longitude)}`), map);
}

export function link(title, description, url, kind) {
  return h("div", { class: "card link" },
    h("b", null, /^https?:/.test(text(url)) ? webLink(text(title) || url, url) : text(title)),
    h("div", { class: "row" }, h("small", null, text(description)), h("span", { class: "thumb" }, landscape(title, 44, 44))),
    kind ? h("footer", null, kind) : null);
}

export function file(title, bytes) {
  return h("div", { class: "card link" },
    h("div", { class: "row" },
      h("span", null, h("b", null, text(title)), h("small", null, `${text(bytes)} 字节`)),
      svg("svg", { viewBox: "0 0 40 48", class: "thumb paper", "aria-hidden": "true" },
        svg("path", { d: "M2 2h24l12 12v32H2z", fill: "#fa9d3b" }), svg("path", { d: "M26 2v12h12z", fill: "#fcc789" }))));
}

export function music(fields) {
  const url = text(fields.MusicUrl) || text(fields.HQMusicUrl);
  const title = text(fields.Title) || "音乐";
  return h("div", { class: "card music" },
    h("div", { class: "row" },
      h("span", null, h("b", null, url ? webLink(title, url) : title), h("small", null, text(fields.Description))),
      h("span", { class: "thumb" }, landscape(fields.ThumbMediaId, 52, 52),
        svg("svg", { viewBox: "0 0 48 48", class: "play", "aria-hidden": "true" },
          svg("circle", { cx: 24, cy: 24, r: 22 }), svg("path", { d: "M19 15.500 34 24 19 32.500z" })))),
    h("footer", null, "音乐"));
}

// One article: cover, title, summary. Several: a large one with its title on the cover, the rest as rows.
export function news(articles) {
  const [first, ...rest] = articles.filter((article) => article && typeof article === "object");
  if (!first) return h("div", { class: "card news" }, h("small", null, "（没有图文）"));
  const title = (article) => webLink(text(article.Title) || "（无标题）", text(article.Url));
  const cover = h("div", { class: "cover" }, landscape(text(first.PicUrl) + text(first.Title), "100%", "100%"),
    rest.length ? h("b", null, title(first)) : null);
  return h("div", { class: `card news${rest.length ? " many" : ""}` }, cover,
    rest.length ? null : h("div", { class: "lead" }, h("b", null, title(first)), h("small", null, text(first.Description))),
    ...rest.map((article) => h("div", { class: "row" }, h("span", null, title(article)),
      h("span", { class: "thumb" }, landscape(text(article.PicUrl) + text(article.Title), 48, 48)))));
}
