// Shows the description of the API with Swagger UI. The plain page stays where that does not come about.
const plain = document.getElementById("plain");

globalThis.SwaggerUIBundle?.({
  url: "openapi.yaml",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: "none", // nothing of this page is sent anywhere else
  onComplete: () => {
    if (document.querySelector("#swagger-ui .opblock")) plain.hidden = true;
  },
});
