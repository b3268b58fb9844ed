// The page's beginning: puts the app into the document that the daemon serves as `/`.
import { render } from "preact";
import { App } from "./app";
import { goLive } from "./live";
import { arrive } from "./session/arrival";
import "./styles/index.css";

const root = document.getElementById("app") ?? document.body;
void arrive();
goLive();
render(<App />, root);
