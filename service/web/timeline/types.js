/**
 * What the service answers, as far as the element reads it. Types only: nothing loads this file.
 *
 * @typedef {object} Segment
 * @property {string} label
 * @property {number} score in 0..1
 * @property {number} start in seconds
 * @property {number} end in seconds
 * @property {number} [raw_score] as the model computed it
 * @property {number} [start_frame]
 * @property {number} [end_frame]
 * @property {string | null} [start_time] RFC 3339
 * @property {string | null} [end_time] RFC 3339
 *
 * @typedef {object} ResultVideo
 * @property {string} name
 * @property {number} duration in seconds
 * @property {number} nominal_fps
 * @property {boolean} [vfr]
 * @property {number} width
 * @property {number} height
 *
 * @typedef {object} Result
 * @property {ResultVideo} video
 * @property {string} model
 * @property {Segment[]} segments
 * @property {Record<string, number>} [labels_seen] label -> video score
 * @property {{code: string, message: string, seconds: number | null}[]} [warnings]
 * @property {string | null} [camera]
 * @property {string | null} [recorded_at] RFC 3339
 *
 * @typedef {object} Activations
 * @property {string[]} classes
 * @property {number} num_steps
 * @property {number[]} seconds
 * @property {number[][]} localization by point, by class
 * @property {number[] | undefined} [attention]
 * @property {Record<string, number[]>} [stream_attention]
 * @property {number[]} video_scores
 * @property {number[][] | null} [window_scores]
 * @property {object | null} [proposals] of a model that proposes intervals by itself
 * @property {number[] | null} [thresholds] the model's own cut levels
 *
 * @typedef {object} StripShape
 * @property {number} tile_width
 * @property {number} tile_height
 * @property {number} columns
 * @property {number} count
 * @property {number[]} seconds
 *
 * @typedef {object} Strip
 * @property {StripShape} info
 * @property {string} url of the picture
 *
 * @typedef {object} VideoFacts
 * @property {string} [id]
 * @property {string} [name]
 * @property {string | null} [codec]
 * @property {string | null} [recorded_at]
 *
 * @typedef {object} TimelineData what `element.data` takes: everything there is to show
 * @property {Result} result
 * @property {VideoFacts | null} [video]
 * @property {Activations | null} [activations]
 * @property {Strip | null} [thumbnails]
 * @property {string | null} [mediaUrl]
 *
 * @typedef {object} Choice what POST /v1/jobs/{id}/resegment takes
 * @property {string[] | null} [labels]
 * @property {number | null} [min_score]
 * @property {number | null} [class_threshold]
 * @property {number[] | null} [thresholds]
 * @property {number | null} [min_raw_score]
 * @property {Record<string, unknown> | null} [nms]
 */

export {};
