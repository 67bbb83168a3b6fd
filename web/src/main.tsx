// SPDX-License-Identifier: Apache-2.0
import "@fontsource/be-vietnam-pro/400.css";
import "@fontsource/be-vietnam-pro/500.css";
import "@fontsource/be-vietnam-pro/600.css";
import "@fontsource/be-vietnam-pro/700.css";
import "./styles/base.css";
import "./styles/pages.css";
import "./styles/room.css";

import { createRoot } from "react-dom/client";

import { refresh } from "./api/auth";
import { App } from "./app";
import { startI18n } from "./i18n";

const root = document.getElementById("root");
if (!root) throw new Error("index.html has no #root");

await startI18n();
void refresh();
createRoot(root).render(<App />);
