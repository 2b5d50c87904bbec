// What pages gain by scripts; each is whole without them. No handler is inline, nothing is evaluated.
const live = () => document.getElementById("live");
const say = (words) => { const place = live(); if (place) place.textContent = words; };

// What was brought to life already; a page may be gone through again after a part of it is new.
const alive = new WeakSet();
const isNew = (node) => !alive.has(node) && Boolean(alive.add(node));

// Copy what stands beside a button.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const text = button.dataset.copy || button.previousElementSibling.textContent;
  const words = [...button.childNodes];
  try {
    await navigator.clipboard.writeText(text);
    button.replaceChildren("Copied");
    say("Copied");
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.previousElementSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    say("Selected; copy it with the keyboard");
  }
  setTimeout(() => button.replaceChildren(...words), 1500);
});

// "/" goes to the search, "g" and a letter to a part of the registry.
let isGoing = false;
const typing = (node) => node.closest("input, select, textarea, [contenteditable]");
document.addEventListener("keydown", (event) => {
  if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    const search = document.querySelector(".find input");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  } else if (isGoing) {
    isGoing = false;
    const link = document.querySelector(`.bar a[data-key="${CSS.escape(event.key)}"]`);
    if (link) link.click();
  } else if (event.key === "g") {
    isGoing = true;
    setTimeout(() => { isGoing = false; }, 1200);
  }
});

// Times in the reader's zone; the page itself says them in UTC, and the title goes on to.
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
function localTimes(root) {
  const today = midnight(new Date());
  for (const node of root.querySelectorAll("time[datetime]")) {
    const at = new Date(node.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const days = Math.round((today - midnight(at)) / 86400000);
    const name = days === 0 ? "today" : days === 1 ? "yesterday" : day.format(at);
    node.textContent = `${name} ${clock.format(at)}`;
  }
}

// A time that is asked for is picked in the reader's zone too, and sent in UTC as without scripts.
const shortZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "your time";
const twoDigits = (number) => String(number).padStart(2, "0");
const asPicked = (at) => `${at.getFullYear()}-${twoDigits(at.getMonth() + 1)}-${twoDigits(at.getDate())}T` +
  `${twoDigits(at.getHours())}:${twoDigits(at.getMinutes())}:${twoDigits(at.getSeconds())}`;
function pickedTimes(root) {
  for (const field of root.querySelectorAll("input[type=datetime-local]")) {
    if (!isNew(field)) continue;
    if (field.value) field.value = asPicked(new Date(`${field.value}Z`));
    const zone = field.labels[0]?.querySelector("[data-zone]");
    if (zone) zone.textContent = shortZone();
    field.form.addEventListener("formdata", (event) => {
      const at = new Date(field.value);
      if (!Number.isNaN(at.getTime())) event.formData.set(field.name, `${at.toISOString().slice(0, 19)}Z`);
    });
  }
}

// A grid is one stop of the Tab key; arrows, Home and End move inside it, and what is there is told.
function grids(root) {
  for (const grid of root.querySelectorAll("table[role=grid]")) {
    if (!isNew(grid)) continue;
    const rows = [...grid.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
    const place = document.getElementById(grid.dataset.told);
    let at = [0, 0];
    const show = (cell) => { if (place) place.textContent = cell.getAttribute("aria-label"); };
    const move = (y, x) => {
      y = Math.max(0, Math.min(rows.length - 1, y));
      x = Math.max(0, Math.min(rows[y].length - 1, x));
      rows[at[0]][at[1]].tabIndex = -1;
      at = [y, x];
      rows[y][x].tabIndex = 0;
      rows[y][x].focus();
      show(rows[y][x]);
    };
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    grid.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (step) move(at[0] + step[0], at[1] + step[1]);
      else if (event.key === "Home") move(at[0], 0);
      else if (event.key === "End") move(at[0], Infinity);
      else return;
      event.preventDefault();
    });
    grid.addEventListener("mouseover", (event) => {
      const cell = event.target.closest("td");
      if (cell) show(cell);
    });
    grid.addEventListener("click", (event) => {
      const cell = event.target.closest("td");
      rows.forEach((row, y) => { const x = row.indexOf(cell); if (x >= 0) move(y, x); });
    });
  }
}

// Columns sort by the button in their head, by numbers where there are any.
function sorting(root) {
  for (const head of root.querySelectorAll("th[data-sort]")) {
    if (head.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isDown = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      const place = [...head.parentNode.children].indexOf(head);
      const body = head.closest("table").tBodies[0];
      const value = (row) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
      const order = (a, b) => (Number(value(a)) - Number(value(b))) || value(a).localeCompare(value(b));
      body.append(...[...body.rows].sort((a, b) => (isDown ? order(b, a) : order(a, b))));
    });
  }
}

// Selects of a filter send it; without scripts there is a button.
function filters(root) {
  for (const form of root.querySelectorAll("form[data-live]")) {
    if (!isNew(form)) continue;
    form.addEventListener("change", () => form.requestSubmit());
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
  }
}

// The log of a run as it comes; where that cannot be, the page asks for it every few seconds.
function logs(root) {
  for (const place of root.querySelectorAll("[data-stream]")) {
    if (!isNew(place)) continue;
    const poll = document.getElementById("log-poll");
    const source = new EventSource(place.dataset.stream);
    source.onopen = () => poll.remove();
    source.onmessage = (event) => {
      const log = document.getElementById("log");
      const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      if ("empty" in log.dataset) { delete log.dataset.empty; log.replaceChildren(); }
      log.append(`${event.data}\n`);
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    };
    source.addEventListener("end", () => {
      source.close();
      say("The run has ended");
      place.dispatchEvent(new Event("ended"));
    });
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED || poll.isConnected) return;
      place.append(poll);
      htmx.process(poll);
    };
    addEventListener("pagehide", () => source.close());
  }
}

// A code comes behind the "#" of the address, which no server and no log ever sees.
function codes() {
  const form = document.getElementById("by-code");
  if (!form || location.hash.length < 20) return;
  form.elements.code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  form.hidden = false;
  if (form.dataset.direct === "yes") form.requestSubmit();
  else form.querySelector("button").focus();
}

// Tabs that do not fit scroll sideways; where one is comes into sight.
function tabs() {
  for (const here of document.querySelectorAll(".tabs [aria-current], .bar nav [aria-current]")) {
    const row = here.parentNode;
    if (row.scrollWidth > row.clientWidth) row.scrollLeft = here.offsetLeft - row.offsetLeft - 40;
  }
}

function enliven(root) {
  localTimes(root);
  pickedTimes(root);
  grids(root);
  sorting(root);
  filters(root);
  logs(root);
}
enliven(document);
tabs();
codes();
// A form that was refused is shown where it was sent to, which is no page to come back to.
const refused = document.querySelector("[data-here]");
if (refused) history.replaceState(null, "", refused.dataset.here);
// A part that is fetched is cut out of a page with a title of its own; this page keeps its own.
document.addEventListener("htmx:before:swap", (event) => { event.detail.ctx.title = ""; });
document.addEventListener("htmx:after:swap", (event) => {
  const target = event.detail?.ctx?.target;
  enliven(target?.isConnected ? target : document);  // what took a place is not what was there
});
