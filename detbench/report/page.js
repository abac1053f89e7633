"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const SIGNS = { recovered: "+", lost: "−", hallucinated: "!" }; // of what changed; the others have thin lines
  const CHANGES = Object.keys(SIGNS);
  const SIZES = [32, 96]; // sides in pixels from which a box is medium, and large
  const SVG = "http://www.w3.org/2000/svg";
  const [X, Y, WIDTH, HEIGHT, CLASS, OUTCOME, SCORE] = [0, 1, 2, 3, 4, 5, 6]; // of a box

  let shown = []; // the views that pass the filters, in order
  let at = 0; // which of them is on the stage

  const make = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "g", "rect", "text", "tspan", "title"].includes(tag);
    const element = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // ---- filters

  const chosen = (id) => ($(id).value === "" ? null : Number($(id).value));
  const outcome = (box) => data.outcomes[box[OUTCOME]];

  /** The boxes of a view that pass the filters; what they count decides whether a view is shown, and where. */
  function boxes(view) {
    const [kind, ending, size] = [chosen("by-class"), chosen("by-outcome"), chosen("by-size")];
    return view.boxes.filter(
      (box) =>
        (kind === null || box[CLASS] === kind) &&
        (ending === null || box[OUTCOME] === ending) &&
        (size === null || sizeOf(box, data.frames[view.frame]) === size)
    );
  }

  /** COCO's: 0 for small, 1 for medium, 2 for large, by the box's area in pixels of the frame. */
  function sizeOf(box, frame) {
    const area = (box[WIDTH] / 100) * frame.width * (box[HEIGHT] / 100) * frame.height;
    return SIZES.filter((side) => area >= side * side).length;
  }

  function count(found) {
    const counts = Object.fromEntries(data.outcomes.map((name) => [name, 0]));
    for (const box of found) counts[outcome(box)] += 1;
    return counts;
  }

  const ORDERS = {
    change: ({ n }) => [-Math.abs(n.recovered - n.lost), -(n.recovered + n.lost + n.hallucinated)],
    gain: ({ n }) => [n.lost - n.recovered],
    loss: ({ n }) => [n.recovered - n.lost],
    hallucinated: ({ n }) => [-n.hallucinated],
    psnr: ({ view }) => [view.psnr ?? Infinity],
    frame: ({ view }) => [data.frames[view.frame].number],
  };

  function compare(a, b) {
    for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
  }

  function choose() {
    const [model, clip] = [chosen("by-model"), chosen("by-clip")];
    const filtered = ["by-class", "by-outcome", "by-size"].some((id) => chosen(id) !== null);
    const order = ORDERS[$("sort").value];
    shown = data.views
      .filter((view) => model === null || view.model === model)
      .filter((view) => clip === null || data.frames[view.frame].clip === clips[clip])
      .map((view) => ({ view, found: boxes(view) }))
      .filter(({ found }) => !filtered || found.length > 0)
      .map((entry) => ({ ...entry, n: count(entry.found) }))
      .map((entry) => ({ ...entry, key: order(entry) }))
      .sort((a, b) => compare(a.key, b.key)); // stable: equals stay in the order of the data
    const sum = count(shown.flatMap(({ found }) => found));
    const told = data.outcomes.filter((name) => sum[name]).map((name) => `${sum[name]} ${data.words[name]}`);
    const frames = counted(new Set(shown.map(({ view }) => view.frame)).size, "frame");
    const deblurers = counted(new Set(shown.map(({ view }) => view.model)).size, "deblurer");
    $("count").textContent =
      `${shown.length} of ${data.views.length} restored frames (${frames} by ${deblurers}), ` +
      `in them ${told.join(", ") || "no boxes"}`;
    $("none").hidden = shown.length > 0;
    document.querySelector(".columns").hidden = shown.length === 0;
    $("list").replaceChildren(...shown.map(thumbnail));
    show(0, false);
  }

  function counted(number, noun) {
    return `${number} ${noun}${number === 1 ? "" : "s"}`;
  }

  function thumbnail({ view, n }, index) {
    const frame = data.frames[view.frame];
    const changes = CHANGES.map((name) => `${SIGNS[name]}${n[name]}`).join(" ");
    const spoken = CHANGES.map((name) => `${n[name]} ${name}`).join(", ");
    const button = make(
      "button",
      { type: "button", "aria-label": `${frame.id}, ${data.models[view.model]}: ${spoken}` },
      make("img", { src: frame.sharp, alt: "", loading: "lazy", decoding: "async", width: 88, height: 55 }),
      make("span", {}, frame.id, make("small", {}, data.models[view.model]), make("small", {}, changes))
    );
    button.addEventListener("click", () => show(index));
    return make("li", {}, button);
  }

  // ---- the stage

  function show(index, scroll = true) {
    if (!shown.length) return;
    at = Math.min(Math.max(index, 0), shown.length - 1);
    const { view, found, n } = shown[at];
    const frame = data.frames[view.frame];
    const name = `${frame.id}, ${data.models[view.model]}`;
    $("name").textContent = `${name} (${at + 1} of ${shown.length})`;
    $("previous").disabled = at === 0;
    $("next").disabled = at === shown.length - 1;
    $("viewer").style.setProperty("--ratio", frame.width / frame.height);
    $("missing").hidden = view.restored !== null;
    for (const radio of document.querySelectorAll("#pair input")) {
      radio.disabled = view.restored === null && radio.value.includes("restored");
    }
    pictures();
    draw(found, frame);
    legend(n);
    $("list").querySelector("[aria-current]")?.removeAttribute("aria-current");
    const button = $("list").children[at].firstElementChild;
    button.setAttribute("aria-current", "true");
    if (!scroll) return; // nobody asked for this frame
    reveal(button.parentElement);
    history.replaceState(null, "", `#${new URLSearchParams({ frame: frame.id, deblurer: data.models[view.model] })}`);
  }

  /** Show the frame that the address names, if it does. */
  function link() {
    const named = new URLSearchParams(location.hash.slice(1));
    const here = (view) => data.frames[view.frame].id === named.get("frame");
    const ours = (view) => data.models[view.model] === named.get("deblurer");
    const index = shown.findIndex(({ view }) => here(view) && ours(view));
    if (index < 0) return;
    show(index);
    $("stage").scrollIntoView({ block: "center" });
  }

  /** Scroll the list, and nothing else, to one of its items. */
  function reveal(item) {
    const list = $("list");
    const [left, top] = [item.offsetLeft, item.offsetTop];
    if (left < list.scrollLeft || left + item.offsetWidth > list.scrollLeft + list.clientWidth) list.scrollLeft = left;
    if (top < list.scrollTop || top + item.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top;
  }

  function pictures() {
    const { view } = shown[at];
    const frame = data.frames[view.frame];
    const files = { blurred: frame.blurred, restored: view.restored, sharp: frame.sharp };
    const asked = document.querySelector("#pair input:checked").value;
    const pair = (view.restored === null ? "blurred-sharp" : asked).split("-");
    for (const [side, kind] of [["left", pair[0]], ["right", pair[1]]]) {
      if ($(side).getAttribute("src") !== files[kind]) $(side).src = files[kind];
      $(side).alt = `${frame.id}, ${kind}`;
      $(`${side}-label`).textContent = kind === "restored" ? data.models[view.model] : kind;
    }
    $("wipe").setAttribute("aria-label", `Divider between ${pair[0]} on the left and ${pair[1]} on the right`);
    wipe();
  }

  function wipe() {
    const value = Number($("wipe").value);
    $("stage").style.setProperty("--wipe", `${value}%`);
    $("wipe").setAttribute("aria-valuetext", `${value} percent`);
    $("left-label").hidden = value < 8;
    $("right-label").hidden = value > 92;
  }

  function outline(box) {
    const name = outcome(box);
    const place = { x: `${box[X]}%`, y: `${box[Y]}%`, width: `${box[WIDTH]}%`, height: `${box[HEIGHT]}%` };
    const called = data.classes[box[CLASS]];
    const score = box[SCORE] === null ? "" : `, score ${box[SCORE].toFixed(2)}`;
    return make(
      "g",
      { class: name },
      make("title", {}, `${called}, ${data.words[name]}${score}`),
      make("rect", { ...place, class: "edge" }),
      make("rect", { ...place, class: "line" })
    );
  }

  /** Names at the corners of the boxes that changed, each where it covers no other; without such a place, none. */
  function label() {
    for (const old of $("boxes").querySelectorAll(":scope > text")) old.remove();
    if (!shown.length || !$("show-boxes").checked) return;
    const taken = [];
    for (const box of shown[at].found.filter((box) => SIGNS[outcome(box)])) {
      const name = make("tspan", {}, ` ${data.classes[box[CLASS]]}`);
      const text = make("text", { class: outcome(box) }, SIGNS[outcome(box)], name);
      $("boxes").append(text);
      const free = corners(box).some((corner) => {
        for (const [attribute, value] of Object.entries(corner)) text.setAttribute(attribute, value);
        const place = text.getBBox();
        return inside(place) && !taken.some((other) => overlap(place, other));
      });
      if (free) taken.push(text.getBBox());
      else text.remove();
    }
  }

  /** Where a box's name may stand: above and below its upper edge, then its lower one, at the left before the right. */
  function corners([x, y, width, height]) {
    const sides = [{ x: `${x}%`, dx: 2, "text-anchor": "start" }, { x: `${x + width}%`, dx: -2, "text-anchor": "end" }];
    const edges = [y, y + height].flatMap((edge) => [-4, 14].map((dy) => ({ y: `${edge}%`, dy })));
    return sides.flatMap((side) => edges.map((edge) => ({ ...side, ...edge })));
  }

  function inside({ x, y, width, height }) {
    const { clientWidth, clientHeight } = $("stage");
    return x >= 0 && y >= 0 && x + width <= clientWidth && y + height <= clientHeight;
  }

  function overlap(a, b) {
    return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
  }

  function draw(found, frame) {
    const rank = (box) => data.outcomes.length - box[OUTCOME]; // what changed is drawn last, on top
    $("boxes").replaceChildren(...[...found].sort((a, b) => rank(a) - rank(b)).map(outline));
    const told = data.outcomes
      .map((name) => [data.words[name], found.filter((box) => outcome(box) === name)])
      .map(([words, some]) => [words, some.map((box) => data.classes[box[CLASS]])])
      .filter(([, classes]) => classes.length)
      .map(([words, classes]) => `${classes.length} ${words} (${classes.join(", ")})`);
    $("boxes").setAttribute("aria-label", `Boxes of ${frame.id}: ${told.join("; ") || "none"}`);
    reshow();
  }

  function reshow() {
    $("boxes").style.display = $("show-boxes").checked ? "" : "none";
    label();
  }

  function legend(n) {
    $("legend").replaceChildren(
      ...data.outcomes.map((name) =>
        make(
          "li",
          { class: n[name] ? "" : "zero" },
          make(
            "svg",
            { class: name, "aria-hidden": "true" },
            make("rect", { x: 3, y: 3, width: 28, height: 16, class: "line" }),
            make("text", { x: 13, y: 16 }, SIGNS[name] ?? "")
          ),
          `${n[name]} ${data.words[name]}`
        )
      )
    );
  }

  // ---- hands

  function drag(event) {
    const place = $("stage").getBoundingClientRect();
    const share = (event.clientX - place.left) / place.width;
    $("wipe").value = Math.round(100 * Math.min(Math.max(share, 0), 1));
    wipe();
  }

  function press(key) {
    const pairs = document.querySelectorAll("#pair input");
    if (key === "j") show(at + 1);
    else if (key === "k") show(at - 1);
    else if (key === "ArrowLeft" || key === "ArrowRight") {
      $("wipe").value = Number($("wipe").value) + (key === "ArrowLeft" ? -5 : 5);
      wipe();
    } else if (key === "b") $("show-boxes").click();
    else if (key === "?") $("help").showModal();
    else if ("123".includes(key)) pairs[Number(key) - 1].click();
    else return false;
    return true;
  }

  /** Keys are ours where the focus is on nothing or in the viewer, and the control there has no use for them itself. */
  document.addEventListener("keydown", (event) => {
    const focus = document.activeElement;
    if (event.ctrlKey || event.altKey || event.metaKey || $("help").open) return;
    if (focus && focus !== document.body && !$("viewer").contains(focus)) return;
    if (focus?.matches("select")) return;
    if (event.key.startsWith("Arrow") && focus?.matches("input[type=range], input[type=radio]")) return;
    if (event.key.length === 1 || event.key.startsWith("Arrow")) {
      if (press(event.key)) event.preventDefault();
    }
  });

  const clips = [...new Set(data.frames.map((frame) => frame.clip))].sort();
  const offered = { "by-model": data.models, "by-clip": clips, "by-class": data.classes };
  for (const [id, names] of Object.entries(offered)) {
    $(id).append(...names.map((name, i) => make("option", { value: i }, name)));
  }
  $("by-outcome").append(...data.outcomes.map((name, i) => make("option", { value: i }, data.words[name])));
  for (const id of [...Object.keys(offered), "by-outcome", "by-size", "sort"]) $(id).addEventListener("change", choose);
  $("wipe").addEventListener("input", wipe);
  $("pair").addEventListener("change", pictures);
  $("show-boxes").addEventListener("change", reshow);
  new ResizeObserver(label).observe($("stage")); // whose boxes grow, where their names do not
  $("previous").addEventListener("click", () => show(at - 1));
  $("next").addEventListener("click", () => show(at + 1));
  $("ask").addEventListener("click", () => $("help").showModal());
  $("stage").addEventListener("pointerdown", (event) => {
    $("stage").setPointerCapture(event.pointerId);
    drag(event);
  });
  $("stage").addEventListener("pointermove", (event) => {
    if ($("stage").hasPointerCapture(event.pointerId)) drag(event);
  });

  $("signs").textContent = CHANGES.map((name) => `${SIGNS[name]} ${data.words[name]}`).join(", ");
  $("viewer").hidden = false;
  choose();
  addEventListener("hashchange", link);
  link();
})();
