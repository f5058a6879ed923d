"use strict";
// Dates in the reader's own zone; the server's UTC stays as the title.
for (const t of document.querySelectorAll("time[datetime]")) {
  const d = new Date(t.getAttribute("datetime"));
  if (Number.isNaN(d.getTime())) continue;
  t.title = t.textContent;
  const two = (n) => String(n).padStart(2, "0");
  t.textContent = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}`;
}
for (const e of document.querySelectorAll("[data-dates]")) {
  e.textContent = `Dates are in your time zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}; pointing at one shows UTC.`;
}
// A button beside each hash that copies it.
if (navigator.clipboard) {
  for (const e of document.querySelectorAll("[data-copy]")) {
    const text = e.textContent.trim();
    const b = document.createElement("button");
    b.type = "button";
    b.className = "copy";
    b.textContent = "Copy";
    b.setAttribute("aria-label", "Copy " + text);
    b.addEventListener("click", async () => {
      b.textContent = await navigator.clipboard.writeText(text).then(() => "Copied", () => "Not copied");
      setTimeout(() => { b.textContent = "Copy"; }, 1500);
    });
    if (e.tagName === "DD") e.append(" ", b); else e.after(" ", b);
  }
}
// In the large box Enter looks up, as in the small one; Shift+Enter begins a line.
const text = document.getElementById("text");
if (text) {
  text.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      text.form.requestSubmit();
    }
  });
}
// A file that is too large is told before it is sent.
const file = document.querySelector("[data-most]");
if (file) {
  file.addEventListener("change", () => {
    const most = Number(file.dataset.most);
    const large = file.files.length > 0 && file.files[0].size > most;
    file.setCustomValidity(large ? `The file is too large: at most ${most / 1048576} MiB` : "");
    file.reportValidity();
  });
}
// "/" goes to the search box.
document.addEventListener("keydown", (e) => {
  const box = document.getElementById("q") || document.getElementById("text");
  if (e.key === "/" && box && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    e.preventDefault();
    box.focus();
  }
});
