"use strict";

const PLOTTED = 300; // seconds
const SILENCE = 10; // seconds after which a connection counts as lost: there is an event each second
const NONE = "–";
const NOT_STORED = ["failed", "cut off"]; // of the kinds of errors

const the = (id) => document.getElementById(id);

// --- Numbers in words ---

const known = Number.isFinite;

function count(number) {
  return known(number) ? number.toLocaleString("en") : NONE;
}

function counted(number, one, more) {
  return `${count(number)} ${number === 1 ? one : more}`;
}

function size(bytes) {
  if (!known(bytes)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  // 999.95 would be printed as 1000.0
  for (; bytes >= (unit ? 999.95 : 1000) && unit < units.length - 1; unit++) bytes /= 1000;
  return `${bytes.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  if (!known(seconds)) return NONE;
  const whole = Math.max(0, Math.floor(seconds)); // clocks differ
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

function latency(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 0.99995) return `${(seconds * 1000).toFixed(1)} ms`;
  return seconds < 60 ? `${seconds.toFixed(2)} s` : duration(seconds);
}

/** 14:33:19, or 2025-11-27 20:39:59 where that is another day than `now`. */
function clock(time, now = time) {
  const date = new Date(time * 1000);
  if (!known(time) || !known(date.getTime())) return NONE;
  const two = (number) => String(number).padStart(2, "0");
  const of_day = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  if (date.toDateString() === new Date(now * 1000).toDateString()) return of_day;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${of_day}`;
}

// --- Into the page: text only, and only what has changed, so that a selection stays ---

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, text, kind) {
  put(element, text);
  element.dataset.kind = kind;
  element.hidden = false;
}

/** Give a table these rows, arrays of texts or of [text, kind]; where there are none, one that says `none`. */
function fill(body, rows, none) {
  const columns = body.parentNode.tHead.rows[0].cells;
  const shown = rows.length ? rows : [[[none, "none"]]];
  while (body.rows.length > shown.length) body.deleteRow(-1);
  shown.forEach((cells, index) => {
    const row = body.rows[index] ?? body.insertRow();
    while (row.cells.length > cells.length) row.deleteCell(-1);
    cells.forEach((cell, column) => {
      const [text, kind = ""] = Array.isArray(cell) ? cell : [cell];
      const td = row.cells[column] ?? row.insertCell();
      put(td, text);
      td.className = cells.length > 1 ? columns[column].className : "";
      td.colSpan = cells.length > 1 ? 1 : columns.length;
      td.dataset.kind = kind;
    });
  });
}

// --- Plots ---

function shape(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

/** The smallest of 1, 2, 5, 10, 20, ... that is not below `number`. */
function round_up(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return power * [1, 2, 5, 10].find((digit) => digit * power >= number * 0.999999);
}

/** Draw one number for each second; the last second ends at `end`. `unit` is what 1 on the axis stands for. */
function plot(svg, values, end, unit, unit_name) {
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const [left, right, top, bottom] = [46, width - 8, 22, height - 24];
  const peak = Math.max(0, ...values) / unit;
  const step = Math.max(round_up(peak / 4 || 1), unit === 1 ? 1 : 0);
  const steps = Math.max(1, Math.ceil(peak / step - 1e-6));
  const x = (time) => left + ((time - end + PLOTTED) / PLOTTED) * (right - left);
  const y = (value) => bottom - (value / unit / step / steps) * (bottom - top);
  const shapes = [shape("text", { x: left - 8, y: 10, class: "unit" }, unit_name)];
  for (let index = 0; index <= steps; index++) {
    const at = Math.round(y(index * step * unit)) + 0.5;
    shapes.push(shape("line", { x1: left, x2: right, y1: at, y2: at, class: index ? "grid" : "axis" }));
    shapes.push(shape("text", { x: left - 8, y: at + 4, class: "amount" }, String(+(index * step).toPrecision(6))));
  }
  for (let time = Math.ceil((end - PLOTTED) / 60) * 60; time <= end; time += 60) {
    const at = Math.round(x(time)) + 0.5;
    shapes.push(shape("line", { x1: at, x2: at, y1: top, y2: bottom + 4, class: "grid" }));
    if (at > left + 16 && at < right - 12)
      shapes.push(shape("text", { x: at, y: bottom + 18, class: "time" }, clock(time).slice(0, 5)));
  }
  const first = end - values.length;
  const line = values.map((value, index) => `V${y(value).toFixed(1)}H${x(first + index + 1).toFixed(1)}`).join("");
  const path = `M${x(first).toFixed(1)} ${bottom}${line}`;
  shapes.push(shape("path", { d: `${path}V${bottom}Z`, class: "area" }), shape("path", { d: path, class: "line" }));
  if (peak === 0)
    shapes.push(shape("text", { x: (left + right) / 2, y: (top + bottom) / 2, class: "idle" }, "Nothing has arrived"));
  svg.replaceChildren(...shapes);
}

/** The whole seconds to be plotted, and in words the last and the highest of them. */
function history(numbers, end, words) {
  const values = numbers.slice(-PLOTTED).map((number) => (known(number) && number > 0 ? number : 0));
  const peak = Math.max(0, ...values);
  const at = end - values.length + values.lastIndexOf(peak); // where that second begins
  return [values, `${words(values.at(-1) ?? 0)} now, ` + (peak ? `peak ${words(peak)} at ${clock(at)}` : "nothing in five minutes")];
}

const bytes_a_second = (number) => `${size(number)}/s`;
const instances_a_second = (number) => `${count(number)}/s`;

// --- The parts of the page ---

function header({ version, ae_title, now, uptime, listening, ready, hindrance }) {
  put(the("ae_title"), String(ae_title));
  put(the("version"), String(version));
  put(the("listening"), listening.join(", ") || "nowhere");
  put(the("up_since"), clock(now - uptime, now));
  put(the("uptime"), `(${duration(uptime)})`);
  put(the("now"), clock(now));
  if (ready === true) mark(the("ready"), "Ready", "good");
  else mark(the("ready"), hindrance ? `Not ready: ${hindrance}` : "Not ready", "bad");
  the("facts").hidden = false;
}

function tiles({ now, associations, instances, rate, errors }) {
  const recent = (...kinds) => errors.some(({ time, kind }) => now - time < PLOTTED && kinds.includes(kind));
  const turned_away = associations.rejected + associations.refused;
  put(the("stored"), count(instances.stored));
  put(the("stored_more"), size(instances.bytes));
  put(the("arriving"), bytes_a_second(rate.bytes.at(-1)));
  put(the("arriving_more"), counted(rate.instances.at(-1), "instance a second", "instances a second"));
  put(the("open"), count(associations.open));
  put(the("open_more"), `${count(associations.accepted)} so far, ${count(associations.aborted)} aborted`);
  put(the("waiting"), count(instances.waiting));
  put(the("failed"), count(instances.failed));
  put(the("turned_away"), count(turned_away));
  put(the("turned_away_more"), `${count(associations.rejected)} rejected, ${count(associations.refused)} refused`);
  // What was long ago is still counted, but does not call for anybody.
  the("failed").dataset.kind = recent(...NOT_STORED) ? "bad" : "";
  the("turned_away").dataset.kind = recent("rejected", "refused") ? "warn" : "";
}

function plots({ now, rate }) {
  const end = Math.floor(now);
  const [bytes, bytes_said] = history(rate.bytes, end, bytes_a_second);
  const [instances, instances_said] = history(rate.instances, end, instances_a_second);
  const power = Math.min(4, Math.max(1, Math.floor(Math.log10(Math.max(1, ...bytes)) / 3)));
  put(the("bytes_said"), bytes_said);
  put(the("instances_said"), instances_said);
  plot(the("bytes_plot"), bytes, end, 1000 ** power, ["", "kB/s", "MB/s", "GB/s", "TB/s"][power]);
  plot(the("instances_plot"), instances, end, 1, "1/s");
}

function peers({ now, associations: { open, list } }) {
  put(the("peers_said"), open > list.length ? `the oldest ${count(list.length)} of ${count(open)}` : "");
  const rows = list.map((peer) => [
    peer.calling || NONE,
    peer.peer,
    duration(now - peer.since),
    count(peer.instances),
    size(peer.bytes),
    [count(peer.failed), peer.failed ? "bad" : ""],
    peer.called || NONE,
    peer.id,
  ]);
  fill(the("peers"), rows, "Nobody is connected");
}

/** A status of PS3.7 Annex C in words, with its class; what was cut off has none. */
function outcome(status, words) {
  const code = known(status) && status !== 0 ? `${status.toString(16).toUpperCase().padStart(4, "0")}H` : "";
  const is_warning = known(status) && status >>> 12 === 0xb;
  return [[words, code].filter(Boolean).join(" ") || NONE, status === 0 ? "good" : is_warning ? "warn" : "bad"];
}

function last_instances({ now, instances: { last } }) {
  const rows = last.map(({ time, calling, sop_class, status, words, bytes, receive, sync }) => [
    clock(time, now),
    calling || NONE,
    sop_class,
    outcome(status, words),
    size(bytes),
    latency(receive),
    latency(sync),
  ]);
  fill(the("instances"), rows, "Nothing has arrived since the start");
}

function disk({ disk }) {
  the("no_disk").hidden = disk !== null;
  the("disk").hidden = disk === null;
  if (disk === null) return;
  const { directory, free, total, temporary, age } = disk;
  const is_known = known(free) && known(total) && total > 0;
  const scarce = is_known && free < total / 10;
  const part = is_known ? `, ${Math.floor((free / total) * 100)} %` : "";
  put(the("directory"), directory);
  the("used").hidden = !is_known;
  if (is_known) Object.assign(the("used"), { max: total, low: total * 0.9, high: total * 0.9, optimum: 0, value: total - free });
  const said = is_known ? `${size(free)} free of ${size(total)}${part}${scarce ? ": nearly full" : ""}` : "Not yet looked at";
  put(the("disk_said"), said);
  the("disk_said").dataset.kind = scarce ? "bad" : "";
  const looked = known(age) ? `, looked at ${duration(age)} ago` : "";
  put(the("temporary"), `${counted(temporary, "temporary file", "temporary files")}${looked}`);
}

function errors({ now, errors }) {
  const rows = errors.map(({ time, kind, peer, calling, text }) => [
    clock(time, now),
    [`${kind}: ${text}`, NOT_STORED.includes(kind) ? "bad" : "warn"],
    calling ? `${calling} at ${peer}` : peer,
  ]);
  fill(the("errors"), rows, "No errors since the start");
}

const PARTS = [header, tiles, plots, peers, last_instances, disk, errors];

/** Show a snapshot as far as it is understood; whether all of it was. */
function show(text) {
  let snapshot;
  try {
    snapshot = JSON.parse(text);
  } catch {
    return false;
  }
  if (snapshot === null || typeof snapshot !== "object") return false;
  the("main").hidden = false; // before anything is drawn: what is hidden has no size
  const understood = PARTS.map((part) => {
    try {
      part(snapshot);
      return true;
    } catch {
      return false;
    }
  });
  draw_again = () => plots(snapshot);
  return understood.every(Boolean);
}

// --- The link to the server ---

const LINKS = {
  connecting: ["Connecting", ""],
  live: ["Live", "good"],
  odd: ["The server sent what this page does not understand; reload it", "warn"],
  lost: ["Lost the server; trying again", "bad"],
  paused: ["Paused", "warn"],
};

let link = "connecting";
let source = null; // none while the page is paused
let heard = 0; // milliseconds, of the page's own clock
let draw_again = () => {};

function become(state) {
  if (state === link) return;
  // Read aloud where somebody listens: not each second, nor what was asked for.
  the("ready").hidden ||= state === "lost"; // nobody knows
  if (state === "lost") put(the("news"), LINKS.lost[0]);
  else if (link === "lost") put(the("news"), state === "paused" ? "" : "The server is back");
  link = state;
  mark(the("link"), ...LINKS[state]);
  document.body.dataset.link = state;
  document.title = (state === "live" ? "" : `${LINKS[state][0]} · `) + `${the("ae_title").textContent} · storescp`;
}

function connect() {
  heard = performance.now();
  source = new EventSource("events");
  source.onmessage = (event) => {
    heard = performance.now();
    become(show(event.data) ? "live" : "odd");
  };
  source.onerror = () => become("lost");
}

/** An EventSource tries again by itself, but not after an answer that is no stream, nor while nothing says that it ended. */
function look_after() {
  if (source === null) return;
  const is_silent = performance.now() - heard > SILENCE * 1000;
  if (!is_silent && source.readyState !== EventSource.CLOSED) return;
  source.close();
  become("lost");
  connect();
}

function pause_or_resume() {
  if (source === null) {
    connect();
    become("connecting");
  } else {
    source.close();
    source = null;
    become("paused");
  }
  put(the("pause"), source === null ? "Resume" : "Pause");
}

the("pause").addEventListener("click", pause_or_resume);
addEventListener("resize", () => draw_again());
setInterval(look_after, 3000);
connect();
