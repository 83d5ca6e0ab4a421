"use strict";
(() => {
  const ORDER = ["wrong", "missed", "extra", "right", "unknown"];
  const MISTAKES = ["wrong", "missed", "extra"];
  const SVG = "http://www.w3.org/2000/svg";

  const known = (value, otherwise) => (value === null || value === undefined ? otherwise : value);

  const COMPARE = {
    error: (a, b, task) => ORDER.indexOf(a.tasks[task].outcome) - ORDER.indexOf(b.tasks[task].outcome)
      || known(b.tasks[task].error, 0) - known(a.tasks[task].error, 0),
    high: (a, b, task) => known(b.tasks[task].probability, -1) - known(a.tasks[task].probability, -1),
    low: (a, b, task) => known(a.tasks[task].probability, 2) - known(b.tasks[task].probability, 2),
    spread: (a, b, task) => known(b.tasks[task].spread, -1) - known(a.tasks[task].spread, -1),
    diameter: (a, b) => known(b.diameter, -1) - known(a.diameter, -1),
    case: () => 0,
  };

  function prepareWall(wall) {
    const tools = wall.querySelector("form.tools");
    const place = wall.querySelector(".cards");
    const entries = [...wall.querySelectorAll(".card")].map((card) => ({ card, info: JSON.parse(card.dataset.info) }));

    function shows(info, choice) {
      const outcome = info.tasks[choice.task].outcome;
      const fits = !choice.outcome || outcome === choice.outcome
        || (choice.outcome === "mistakes" && MISTAKES.includes(outcome));
      return fits && info.case.toLowerCase().includes(choice.search)
        && choice.groups.every(([column, level]) => !level || info.groups[column] === level);
    }

    function update() {
      const choice = {
        task: tools.elements.task.value,
        outcome: tools.elements.outcome.value,
        search: tools.elements.search.value.trim().toLowerCase(),
        groups: [...tools.querySelectorAll("[name=group]")].map((item) => [item.dataset.column, item.value]),
      };
      const compare = COMPARE[tools.elements.sort.value];
      entries.sort((a, b) => compare(a.info, b.info, choice.task)
        || a.info.case.localeCompare(b.info.case, undefined, { numeric: true }));
      let count = 0;
      for (const { card, info } of entries) {
        card.hidden = !shows(info, choice);
        count += card.hidden ? 0 : 1;
        for (const answer of card.querySelectorAll(".answer")) {
          const active = answer.dataset.task === choice.task;
          answer.classList.toggle("active", active);
          if (active) card.querySelector(".card-badge").replaceChildren(answer.querySelector(".badge").cloneNode(true));
        }
        place.append(card);
      }
      wall.querySelector(".count").textContent = `${count} of ${entries.length} nodules`;
    }

    tools.addEventListener("input", update);
    tools.addEventListener("submit", (event) => event.preventDefault());
    tools.addEventListener("reset", () => setTimeout(update));
    update();
  }

  function element(name, attributes, parent) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    parent?.append(node);
    return node;
  }

  function prepareViewer(viewer) {
    const find = (selector) => viewer.querySelector(selector);
    const slider = find("input[type=range]");
    let card = null;
    let data = null;
    let parts = null;

    function overlay(svg, href, width, height) {
      return href && element("image", { class: "drove", href, width, height, preserveAspectRatio: "none" }, svg);
    }

    function plane(container, index, label) {
      const source = card.querySelector(".planes img");
      const n = Number(source.getAttribute("height"));
      const svg = element("svg", { viewBox: `${index * n} 0 ${n} ${n}`, role: "img", "aria-label": label });
      element("image", { class: "scan", href: source.src, width: 3 * n, height: n }, svg);
      overlay(svg, data.explanation?.planes, 3 * n, n);
      for (const path of card.querySelectorAll(".overlay .contour")) svg.append(path.cloneNode());
      const level = element("line", { class: "level", x1: index * n, x2: (index + 1) * n }, svg);
      container.replaceChildren(svg);
      return (share) => { level.setAttribute("y1", share * n); level.setAttribute("y2", share * n); };
    }

    const mapSlices = () => data.slices / known(data.explanation?.share, 1);

    function explain() {
      const drove = data.explanation;
      viewer.classList.toggle("has-drove", Boolean(drove));
      find(".drove-context div")?.replaceChildren();
      if (!drove) return;
      find("#drove-title").textContent = drove.title;
      find(".drove-local").textContent = drove.local;
      const around = drove.context;
      const figure = find(".drove-context");
      figure.hidden = !around;
      if (!around) return;
      const field = around.field;
      const svg = element("svg", { viewBox: `0 0 ${field} ${field}`, role: "img" });
      svg.setAttribute("aria-label", `axial slice of the surroundings, ${Math.round(field)} mm wide, with the map`);
      element("image", { class: "scan", href: around.image, width: field, height: field }, svg);
      overlay(svg, around.map, field, field);
      const corner = (field - data.field) / 2;
      element("rect", { class: "nearby", x: corner, y: corner, width: data.field, height: data.field }, svg);
      figure.querySelector("div").replaceChildren(svg);
      figure.querySelector("figcaption").textContent =
        `Surroundings, ${Math.round(field)} mm; dashed: the pictures of the nodule. ${around.text}`;
    }

    function build() {
      const n = data.pixels;
      const rows = Math.ceil(data.slices / data.columns);
      const main = element("svg", { viewBox: `0 0 ${n} ${n}`, role: "img" });
      const sheet = element("image", { class: "scan", href: data.stack, width: n * data.columns, height: n * rows }, main);
      const maps = overlay(main, data.explanation?.stack, n * data.columns, n * Math.ceil(mapSlices() / data.columns));
      const paths = Object.keys(data.contours).map((layer) => [layer, element("path", { class: `contour ${layer}` }, main)]);
      for (const line of ["scale edge", "scale"])
        element("path", { class: line, d: `M${n - 4} ${n - 4}h${-10 * n / data.field}` }, main);
      element("text", { class: "scale-words", x: n - 4, y: n - 6 }, main).textContent = "10 mm";
      find(".viewer-main").replaceChildren(main);
      const levels = [
        plane(find(".viewer-coronal"), 1, "coronal plane with the height of the slice"),
        plane(find(".viewer-sagittal"), 2, "sagittal plane with the height of the slice"),
      ];
      explain();
      parts = { main, sheet, maps, paths, levels };
      slider.max = data.slices - 1;
    }

    function show(slice) {
      const index = Math.min(Math.max(Math.round(slice), 0), data.slices - 1);
      const n = data.pixels;
      slider.value = index;
      parts.sheet.setAttribute("x", -(index % data.columns) * n);
      parts.sheet.setAttribute("y", -Math.floor(index / data.columns) * n);
      const mapped = Math.floor(index * mapSlices() / data.slices);
      parts.maps?.setAttribute("x", -(mapped % data.columns) * n);
      parts.maps?.setAttribute("y", -Math.floor(mapped / data.columns) * n);
      for (const [layer, path] of parts.paths) path.setAttribute("d", data.contours[layer][index]);
      for (const level of parts.levels) level((index + 0.5) / data.slices);
      const height = ((data.slices - 1) / 2 - index) * data.step;
      const offset = `${height >= 0 ? "+" : "−"}${Math.abs(height).toFixed(1)} mm from the centre`;
      const text = data.places[index] ? `${offset}: ${data.places[index]}` : `${offset}, outside of the scan`;
      find(".slider output").textContent = text;
      slider.setAttribute("aria-valuetext", text);
      const covered = parts.maps && viewer.classList.contains("show-drove") ? ", with the map of what drove the score" : "";
      parts.main.setAttribute("aria-label", `axial slice ${text}${covered}`);
    }

    function open(next) {
      card = next;
      data = JSON.parse(card.querySelector("script.stack").textContent);
      find("#viewer-title").textContent = card.querySelector("h4").textContent;
      find(".viewer-badge").replaceChildren(card.querySelector(".card-badge .badge").cloneNode(true));
      find(".answers").replaceChildren(...[...card.querySelectorAll(".answer")].map((item) => item.cloneNode(true)));
      find(".viewer-place").replaceChildren(...[...(card.querySelector(".place")?.childNodes || [])].map((item) => item.cloneNode(true)));
      find(".facts").replaceChildren(...[...card.querySelectorAll(".facts > *")].map((item) => item.cloneNode(true)));
      build();
      show((data.slices - 1) / 2);
      if (!viewer.open) viewer.showModal();
      slider.focus();
    }

    function step(by) {
      const wall = card.closest(".wall");
      const cards = [...wall.querySelectorAll(".card:not([hidden])")].filter((item) => item.querySelector("script.stack"));
      open(cards[(cards.indexOf(card) + by + cards.length) % cards.length]);
    }

    function toggle(layer) {
      const box = find(`input[name=${layer}]`);
      viewer.classList.toggle(`hide-${layer}`, !box.checked);
    }

    function toggleDrove() {
      viewer.classList.toggle("show-drove", find("input[name=drove]").checked);
      show(Number(slider.value));
    }

    function flip(layer, change = toggle) {
      const box = find(`input[name=${layer}]`);
      box.checked = !box.checked;
      change(layer);
    }

    const KEYS = {
      ArrowDown: () => show(Number(slider.value) + 1),
      ArrowUp: () => show(Number(slider.value) - 1),
      ArrowRight: () => step(1),
      ArrowLeft: () => step(-1),
      t: () => flip("truth"),
      p: () => flip("predicted"),
      e: () => data.explanation && flip("drove", toggleDrove),
    };
    for (const box of viewer.querySelectorAll(".windows input")) KEYS[Number(box.value) + 1] = () => chooseWindow(box.value);
    viewer.addEventListener("keydown", (event) => {
      const action = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key] || KEYS[event.key.toLowerCase()];
      if (!action) return;
      event.preventDefault();
      action();
    });
    viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
    viewer.addEventListener("close", () => card.querySelector(".open").focus());
    find(".viewer-main").addEventListener("wheel", (event) => {
      event.preventDefault();
      show(Number(slider.value) + Math.sign(event.deltaY));
    }, { passive: false });
    slider.addEventListener("input", () => show(Number(slider.value)));
    for (const layer of ["truth", "predicted"]) {
      find(`input[name=${layer}]`).addEventListener("change", () => toggle(layer));
    }
    find("input[name=drove]")?.addEventListener("change", toggleDrove);
    find(".previous").addEventListener("click", () => step(-1));
    find(".next").addEventListener("click", () => step(1));
    find(".close").addEventListener("click", () => viewer.close());
    for (const item of document.querySelectorAll(".card")) {
      item.querySelector(".open")?.addEventListener("click", () => open(item));
      item.querySelector(".planes")?.addEventListener("click", () => open(item));
    }
  }

  function chooseWindow(number) {
    document.body.dataset.window = number;
    for (const box of document.querySelectorAll(".windows input")) box.checked = box.value === number;
  }

  for (const box of document.querySelectorAll(".windows input")) {
    box.addEventListener("change", () => chooseWindow(box.value));
  }
  for (const wall of document.querySelectorAll(".wall")) prepareWall(wall);
  const viewer = document.getElementById("viewer");
  if (viewer) prepareViewer(viewer);

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open], .listing)")];
    for (const item of closed) item.open = true;
  });
  addEventListener("afterprint", () => { for (const item of closed) item.open = false; });
})();
