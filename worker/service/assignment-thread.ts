/** The thread of `assignmentApart`. */
import { parentPort, workerData } from 'node:worker_threads';
import { failureOf } from '../engine/protocol.ts';
import type { AssignmentReply, Given } from './assignment.ts';
import { readAssignment } from './job.ts';

function read(given: Given): AssignmentReply {
  try {
    return { type: 'read', assignment: readAssignment(given) };
  } catch (error) {
    return { type: 'failed', failure: failureOf(error) };
  }
}

parentPort!.postMessage(read(workerData as Given));
