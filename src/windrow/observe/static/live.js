// Has the page made anew once a second while it is looked at, and puts what is new into its place.
"use strict";

const PERIOD_MS = 1000;

async function look() {
  const state = document.getElementById("state");
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href);
      if (!answer.ok) throw new Error(await answer.text());
      const made = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelector("main").replaceWith(made.querySelector("main"));
      state.textContent = "live";
      state.className = "";
    } catch (error) {
      state.textContent = error instanceof TypeError ? "no answer: it may have ended" : error.message;
      state.className = "lost";
    }
  }
  setTimeout(look, PERIOD_MS);
}

setTimeout(look, PERIOD_MS);
