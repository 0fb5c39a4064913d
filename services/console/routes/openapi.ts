/** Describes all of this to programs: an OpenAPI document, made of the schemas by which the routes read and answer. */
import type { SwaggerOptions } from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import { jsonSchemaTransform, jsonSchemaTransformObject, type ZodTypeProvider } from "fastify-type-provider-zod";
import { z } from "zod";
import { refusals } from "../answers.ts";

export const DOCUMENT = {
  openapi: {
    openapi: "3.1.0",
    info: {
      title: "Longshore console",
      version: "1",
      description:
        "What a page and a program may ask of the console. Its rules say who may ask what: what is out of reach is answered as what is not there.",
    },
  },
  transform: jsonSchemaTransform,
  /** The library names each schema twice, as it is read and as it is answered. Only answers have names here. */
  transformObject: (document) => {
    const made = jsonSchemaTransformObject(document);
    const { schemas = {} } = ("components" in made && made.components) || {};
    const answered = Object.entries(schemas).filter(([name]) => !name.endsWith("Input"));
    return { ...made, components: { schemas: Object.fromEntries(answered) } } as typeof made;
  },
} satisfies SwaggerOptions;

export function openapi(plain: FastifyInstance): void {
  plain.withTypeProvider<ZodTypeProvider>().get(
    "/v1/openapi.json",
    {
      config: { for: "signed-in" },
      schema: {
        summary: "Read this document.",
        response: { 200: z.record(z.string(), z.unknown()).describe("An OpenAPI document."), ...refusals(401) },
      },
    },
    async () => ({ ...plain.swagger() }),
  );
}
