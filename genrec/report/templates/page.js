"use strict";
// Zooming into the tree, reading the map, and light or dark. Everything else is there without it.
// Titles come from outside, so they are only ever set as text, never as HTML.

const byId = (id) => document.getElementById(id);
const grouped = new Intl.NumberFormat("en-US");
const counted = (count, one, more) => `${grouped.format(count)} ${count === 1 ? one : more}`;

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function theme() {
  const button = byId("theme"), root = document.documentElement;
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const show = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    show();
  });
  show();
}

// A branch is [code, items, words, below]; an item [the rest of its codes, title].
function explorer(data) {
  const box = byId("explorer"), list = box.querySelector(".branches");
  const crumbs = box.querySelector(".crumbs"), state = box.querySelector(".state");
  const more = box.querySelector(".more"), find = byId("find");
  const AT_ONCE = 20, MOST_FOUND = 60;
  let path = [];

  function nodeAt(codes) {
    let below = data.branches, node = null;
    for (const code of codes) {
      node = below.find((other) => other.length === 4 && other[0] === code);
      if (!node) return null;
      below = node[3];
    }
    return { size: node ? node[1] : data.items, below };
  }

  function crumb(text, codes) {
    const place = make("li");
    if (codes === path) {
      place.append(make("span", "", text));
      place.firstChild.setAttribute("aria-current", "location");
    } else {
      const button = make("button", "", text);
      button.type = "button";
      button.addEventListener("click", () => open(codes));
      place.append(button);
    }
    return place;
  }

  function branch(node, longest) {
    const button = make("button", "branch");
    button.type = "button";
    const bar = make("span", "bar"), filled = make("span");
    filled.style.width = `${(100 * node[1] / longest).toFixed(2)}%`;
    bar.append(filled);
    bar.setAttribute("aria-hidden", "true");
    const said = make("span", "size", grouped.format(node[1]));
    said.append(make("span", "hidden", " items"));
    button.append(make("span", "code", node[0]), make("span", "words", node[2] || "…"), said, bar);
    const codes = [...path, node[0]];
    button.addEventListener("click", () => open(codes));
    return button;
  }

  function item(codes, title) {
    const row = make("div", "branch item");
    row.append(make("span", "code", codes), make("span", "", title));
    return row;
  }

  function rows(elements, count, words) {
    list.replaceChildren(...elements.map((element) => {
      const row = make("li");
      row.append(element);
      return row;
    }));
    more.replaceChildren();
    if (count > elements.length) {
      const button = make("button", "quiet", `Show all ${grouped.format(count)}`);
      button.type = "button";
      button.addEventListener("click", () => {
        const next = elements.length;
        render(Infinity);
        list.children[next].querySelector("button, div").focus();
      });
      more.append(button);
    }
    state.textContent = words;
  }

  function render(limit = AT_ONCE) {
    const here = nodeAt(path);
    crumbs.replaceChildren(crumb("All items", path.length ? [] : path));
    path.forEach((code, place) => {
      const codes = place + 1 === path.length ? path : path.slice(0, place + 1);
      crumbs.append(crumb(String(code), codes));
    });
    const branches = here.below.filter((node) => node.length === 4).length;
    const longest = branches ? here.below[0][1] : 1;
    const shown = here.below.slice(0, limit).map((node) => node.length === 4
      ? branch(node, longest) : item(`${path.join(" ")} ${node[0]}`.trim(), node[1]));
    const alone = here.below.length - branches;
    const parts = [counted(here.size, "item", "items")];
    if (branches) parts.push(counted(branches, "branch", "branches"));
    if (alone && branches) parts.push(`${counted(alone, "item", "items")} without company`);
    rows(shown, here.below.length, `${path.length ? `${path.join(" ")}: ` : ""}${parts.join(", ")}`);
  }

  function open(codes, focus = true) {
    if (!nodeAt(codes)) return;
    path = codes;
    find.value = "";
    render();
    if (focus) (list.querySelector("button") || crumbs.querySelector("button")).focus();
  }

  function* everything(below = data.branches, codes = []) {
    for (const node of below) {
      if (node.length === 4) yield* everything(node[3], [...codes, node[0]]);
      else yield [codes, node];
    }
  }

  function search(wanted) {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean), found = [];
    let count = 0;
    for (const [codes, [rest, title]] of everything()) {
      const text = title.toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
      count += 1;
      if (found.length >= MOST_FOUND) continue;
      const button = make("button", "branch item");
      button.type = "button";
      button.append(make("span", "code", `${codes.join(" ")} ${rest}`.trim()), make("span", "words", title));
      button.addEventListener("click", () => open(codes));
      found.push(button);
    }
    const first = count > found.length ? `, the first ${found.length} of them` : "";
    rows(found, found.length, `${counted(count, "title", "titles")} with “${wanted.trim()}”${first}`);
  }

  find.addEventListener("input", () => (find.value.trim() ? search(find.value) : render()));
  find.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { find.value = ""; render(); event.preventDefault(); }
  });
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll("button")], at = buttons.indexOf(event.target);
    const goes = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 };
    if (event.key in goes) {
      const next = buttons[goes[event.key]];
      if (next) next.focus();
    } else if (event.key === "ArrowRight" && at >= 0) buttons[at].click();
    else if ((event.key === "ArrowLeft" || event.key === "Escape") && path.length) {
      const left = path[path.length - 1];
      open(path.slice(0, -1));
      const back = [...list.querySelectorAll("button.branch")]
        .find((button) => button.firstChild.textContent === String(left));
      if (back) back.focus();
    } else return;
    event.preventDefault();
  });
  box.querySelector(".tools").hidden = false;
  render();
  return open;
}

// Points are [x, y, first code or -1, title].
function map(points, open) {
  const svg = byId("items"), marks = svg.querySelector(".marks");
  const reading = svg.parentElement.querySelector(".reading");
  const SPACE = "http://www.w3.org/2000/svg", NEAR = 14;
  let current = -1;

  function draw(name, attributes) {
    const element = document.createElementNS(SPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    marks.append(element);
  }

  function show(index) {
    if (index === current) return;
    current = index;
    marks.replaceChildren();
    reading.replaceChildren();
    if (index < 0) return;
    const [x, y, code, title] = points[index];
    const kin = code < 0 ? [] : points.filter((point) => point[2] === code);
    draw("path", { class: "kin", d: kin.map((point) => `M${point[0]} ${point[1]}h0`).join("") });
    draw("circle", { class: "at", cx: x, cy: y, r: 7 });
    reading.append(title);
    if (code < 0) return;
    reading.append(make("br"), `First code ${code}; ${kin.length} such items are marked. `);
    if (!open) return;
    const button = make("button", "", "Open it in the tree");
    button.type = "button";
    button.addEventListener("click", () => {
      byId("tree").scrollIntoView();
      open([code]);
    });
    reading.append(button);
  }

  function nearest(x, y, within) {
    let best = -1, least = within * within;
    points.forEach((point, index) => {
      const distance = (point[0] - x) ** 2 + (point[1] - y) ** 2;
      if (distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  function at(event) {
    const box = svg.getBoundingClientRect(), scale = 600 / box.width;
    const index = nearest((event.clientX - box.left) * scale, (event.clientY - box.top) * scale, NEAR * Math.max(1, scale));
    if (index >= 0) show(index);
  }

  // With the arrow keys: to the nearest item that lies more that way than any other.
  const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(-1);
    if (!(event.key in WAYS)) return;
    event.preventDefault();
    if (current < 0) { show(nearest(300, 300, 900)); return; }
    const [dx, dy] = WAYS[event.key], [x, y] = points[current];
    let best = -1, least = Infinity;
    points.forEach((point, index) => {
      const along = (point[0] - x) * dx + (point[1] - y) * dy;
      const aside = Math.abs((point[0] - x) * dy) + Math.abs((point[1] - y) * dx);
      if (along > 0 && aside <= along && along + aside < least) [best, least] = [index, along + aside];
    });
    if (best >= 0) show(best);
  });
  svg.addEventListener("pointermove", at);
  svg.addEventListener("pointerdown", at);
  svg.setAttribute("tabindex", "0");
  svg.setAttribute("role", "application");
}

function embedded(id) {
  const element = byId(id);
  return element && JSON.parse(element.textContent);
}

theme();
document.querySelectorAll(".script").forEach((element) => { element.hidden = false; });
document.querySelectorAll(".noscript").forEach((element) => { element.hidden = true; });
const tree = embedded("tree-data"), points = embedded("map-data");
const open = tree && explorer(tree);
if (points) map(points, open);
