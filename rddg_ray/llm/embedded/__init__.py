"""An OpenAI-compatible HTTP server for runs without a key, for tests and for load.

It reads a prompt as a model would (rows, rules, feedback) and answers with text. What
answers is a statistical sampler, not a language model, and it says so wherever its name
appears: model `embedded-sampler`, owned by `rddg_ray`.

    columns, reading, remarks, statements
                                    prompt text -> records
    analysis, formulas, rules       rows -> relations, relations -> rules
    planning                        feedback, rules, flaws -> changes
    fitting, sampling, changes,
    generation                      example rows -> new rows
    replying, structured            messages -> reply text, by a schema where one is given
    enforcement, caching, tallying  limits a minute; prompts' beginnings; what was seen
    requests, bodies                OpenAI's JSON, in and out
    server, hosting                 HTTP
"""

from rddg_ray.llm.embedded.bodies import MODEL
from rddg_ray.llm.embedded.hosting import serve, serve_in_thread
from rddg_ray.llm.embedded.server import EmbeddedServer

__all__ = ["MODEL", "EmbeddedServer", "serve", "serve_in_thread"]
