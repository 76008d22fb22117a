export { type Answered, checkAnswer, wrongAnswer } from './testing/answer-check.ts';
