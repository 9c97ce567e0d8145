// Closes the list of further pages when somebody clicks elsewhere, or is done with it.
"use strict";

const list = document.querySelector("details.more");

if (list) {
  document.addEventListener("click", ({ target }) => {
    if (!list.contains(target)) list.open = false;
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || !list.open) return;
    list.open = false;
    list.querySelector("summary").focus();
  });
}
