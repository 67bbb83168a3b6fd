// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from "vite";

// Where a running gateway listens while the app is served by Vite.
const gateway = process.env.GIAOBAN_GATEWAY ?? "http://127.0.0.1:8080";

export default defineConfig({
  esbuild: { jsx: "automatic" },
  build: {
    rollupOptions: {
      onwarn(warning, warn) {
        // "use client" means something to server rendering only.
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") warn(warning);
      },
    },
    target: "es2022",
    // The gateway's Content-Security-Policy allows 'self' only: nothing may be inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
  server: { proxy: { "/v1": { target: gateway, ws: true } } },
});
